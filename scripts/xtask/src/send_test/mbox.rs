// SPDX-License-Identifier: MIT OR Apache-2.0

//! Mails in one file, as archives hand threads out.

use super::letter::Letter;

/// How git is told about the quoting.
pub const GIT_FORMAT: &str = "--patch-format=mboxrd";
/// Archives have no sender and no time of delivery to tell, either.
const START: &[u8] = b"From mboxrd@z Thu Jan  1 00:00:00 1970\n";

/// The format `mboxrd`: a line that looks like the start of a mail is quoted, and
/// so is one that looks quoted.
pub fn write(mails: &[Letter]) -> Vec<u8> {
    let mut mbox = Vec::new();
    for mail in mails {
        mbox.extend_from_slice(START);
        for line in mail.raw.split_inclusive(|byte| *byte == b'\n') {
            let quotes = line.iter().take_while(|byte| **byte == b'>').count();
            if line[quotes..].starts_with(b"From ") {
                mbox.push(b'>');
            }
            mbox.extend_from_slice(line);
        }
        if !mail.raw.ends_with(b"\n") {
            mbox.push(b'\n');
        }
        mbox.push(b'\n');
    }
    mbox
}

#[cfg(test)]
mod tests {
    use super::super::topic::tests::topic;
    use super::*;

    #[test]
    fn lines_that_look_like_starts_are_quoted() {
        let mut mail = topic().letters[0].clone();
        mail.raw = b"Subject: x\n\nFrom here\n>From there\nFromage".to_vec();
        let text = String::from_utf8(write(&[mail.clone(), mail])).unwrap();
        let one = "From mboxrd@z Thu Jan  1 00:00:00 1970\nSubject: x\n\n\
                   >From here\n>>From there\nFromage\n\n";
        assert_eq!(text, one.repeat(2));
    }
}
