// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the front end asks of us, in the words of the vhost-user protocol.

use std::fs::File;
use std::sync::Arc;

use vhost::vhost_user::message::*;
use vhost::vhost_user::{Error, Result, VhostUserBackendReqHandlerMut, VhostUserProtocolFeatures};
use vhost::VhostUserMemoryRegionBase;

use super::host::Host;
use super::queue::Queue;
use crate::lie::Moment;
use crate::memory::Memory;

/// As many as the front end of user-mode Linux can have.
const MOST_QUEUES: u64 = 64;

impl Host {
    fn queue(&mut self, index: u32) -> Result<&mut Queue> {
        let queue = self.queues.get_mut(index as usize);
        queue.ok_or(Error::InvalidParam)
    }
}

impl VhostUserBackendReqHandlerMut for Host {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_device(&mut self) -> Result<()> {
        self.detach();
        Ok(())
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(self.offered)
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        self.features = features;
        Ok(())
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        let memory = Memory::new(regions, files);
        self.memory =
            Some(memory.map_err(|error| Error::ReqHandlerError(std::io::Error::other(error)))?);
        Ok(None)
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        self.queue(index)?.size = num as u16;
        Ok(())
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _: VhostUserVringAddrFlags,
        descriptors: u64,
        device: u64,
        driver: u64,
        _: u64,
    ) -> Result<()> {
        self.queue(index)?.addresses = Some((descriptors, driver, device));
        Ok(())
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        self.queue(index)?.base = base as u16;
        Ok(())
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        self.queue(index)?;
        self.at(Moment::Disable, index as usize);
        // Nothing is kept for another driver: whatever was taken counts as returned.
        self.detach();
        Ok(VhostUserVringState::new(index, 0))
    }

    fn set_vring_kick(&mut self, index: u8, file: Option<File>) -> Result<()> {
        self.queue(index.into())?.kick = file.map(Arc::new);
        self.used = true;
        self.at(Moment::Kick, index.into());
        Ok(())
    }

    fn set_vring_call(&mut self, index: u8, file: Option<File>) -> Result<()> {
        self.queue(index.into())?.set_call(file);
        Ok(())
    }

    fn set_vring_err(&mut self, _: u8, _: Option<File>) -> Result<()> {
        Ok(())
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        use VhostUserProtocolFeatures as F;
        Ok(F::MQ | F::CONFIG | F::BACKEND_REQ | F::REPLY_ACK)
    }

    fn set_protocol_features(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(MOST_QUEUES)
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        let was = std::mem::replace(&mut self.queue(index)?.enabled, enable);
        if enable {
            self.used = true;
            self.at(Moment::Enable, index as usize);
        } else if was {
            self.at(Moment::Disable, index as usize);
            self.queue(index)?.stop();
            if self.queues.iter().all(|queue| !queue.enabled) {
                self.detach();
            }
        }
        Ok(())
    }

    fn get_config(&mut self, offset: u32, size: u32, _: VhostUserConfigFlags) -> Result<Vec<u8>> {
        self.used = true;
        let end = (offset + size) as usize;
        let space = self.config(end);
        Ok(space[offset as usize..end].to_vec())
    }

    fn set_config(&mut self, offset: u32, bytes: &[u8], _: VhostUserConfigFlags) -> Result<()> {
        self.model.set_config(offset as usize, bytes);
        Ok(())
    }

    fn get_shared_object(&mut self, _: VhostUserSharedMsg) -> Result<File> {
        Err(Error::InvalidOperation("no shared objects here"))
    }

    fn get_inflight_fd(&mut self, _: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        Err(Error::InvalidOperation("buffers in flight are not kept"))
    }

    fn set_inflight_fd(&mut self, _: &VhostUserInflight, _: File) -> Result<()> {
        Err(Error::InvalidOperation("buffers in flight are not kept"))
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Err(Error::InvalidOperation("memory comes in one table"))
    }

    fn add_mem_region(
        &mut self,
        _: &VhostUserSingleMemoryRegion,
        _: File,
        _: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        Err(Error::InvalidOperation("memory comes in one table"))
    }

    fn remove_mem_region(&mut self, _: &VhostUserSingleMemoryRegion) -> Result<()> {
        Err(Error::InvalidOperation("memory comes in one table"))
    }

    fn set_device_state_fd(
        &mut self,
        _: VhostTransferStateDirection,
        _: VhostTransferStatePhase,
        _: File,
    ) -> Result<Option<File>> {
        Err(Error::InvalidOperation("no migration"))
    }

    fn check_device_state(&mut self) -> Result<()> {
        Err(Error::InvalidOperation("no migration"))
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        Err(Error::InvalidOperation("no shared memory"))
    }

    fn set_gpu_socket(&mut self, _: vhost::vhost_user::GpuBackend) -> Result<()> {
        Err(Error::InvalidOperation("no GPU"))
    }

    fn set_log_base(&mut self, _: &VhostUserLog, _: File) -> Result<()> {
        Err(Error::InvalidOperation("no migration"))
    }
}
