// SPDX-License-Identifier: MIT OR Apache-2.0

//! Kernel splats: what no console may show.

/// How many lines of a splat are worth showing.
const SHOWN: usize = 30;

/// A text that only a kernel in trouble prints.
struct Sign {
    text: &'static str,
    /// What the kernel means by it.
    meaning: &'static str,
}

const fn sign(text: &'static str, meaning: &'static str) -> Sign {
    Sign { text, meaning }
}

/// In order of how much they say: the first that matches names the splat.
/// "WARNING:" and "BUG:" come late, as most others follow one of them.
const SIGNS: &[Sign] = &[
    sign("KASAN:", "a memory access that KASAN forbids"),
    sign("UBSAN:", "undefined behaviour"),
    sign("KCSAN:", "a data race"),
    sign(
        "possible circular locking",
        "lockdep: locks taken in opposite orders",
    ),
    sign("possible recursive locking", "lockdep: a lock taken twice"),
    sign(
        "inconsistent lock state",
        "lockdep: a lock shared with an interrupt, unsafely",
    ),
    sign(
        "lock inversion",
        "lockdep: a lock shared with an interrupt, unsafely",
    ),
    sign(
        "lock order detected",
        "lockdep: locks of different interrupt safety nested",
    ),
    sign(
        "bad unlock balance",
        "lockdep: a lock released that was not held",
    ),
    sign(
        "held lock freed",
        "lockdep: memory freed with a held lock in it",
    ),
    sign(
        "still has locks held",
        "lockdep: a task slept or left with a lock",
    ),
    sign(
        "lock held when returning to user space",
        "lockdep: a lock leaked by a system call",
    ),
    sign(
        "Invalid wait context",
        "lockdep: a sleeping lock taken in atomic context",
    ),
    sign(
        "suspicious RCU usage",
        "RCU-protected data used without protection",
    ),
    sign("DEBUG_LOCKS_WARN_ON", "a lock that is broken or misused"),
    sign(
        "sleeping function called from invalid context",
        "sleeping in atomic context",
    ),
    sign("scheduling while atomic", "sleeping in atomic context"),
    sign("blocked for more than", "a task that hangs"),
    sign("detected stall", "an RCU stall"),
    sign("self-detected stall", "an RCU stall"),
    sign("detected expedited stall", "an RCU stall"),
    sign("soft lockup", "a CPU that no longer schedules"),
    sign("hard LOCKUP", "a CPU that no longer takes interrupts"),
    sign("kmemleak: ", "the leak checker in trouble"),
    sign("list_add corruption", "a corrupted list"),
    sign("list_del corruption", "a corrupted list"),
    sign(
        "ODEBUG:",
        "a timer or work item freed or reused while active",
    ),
    sign("refcount_t:", "a reference count that over- or underflowed"),
    sign("DMA-API:", "a misuse of the DMA API"),
    sign("general protection", "a wild memory access"),
    sign("unable to handle", "a wild memory access"),
    sign("Kernel mode fault", "a wild memory access"),
    sign("rust_kernel: panicked at", "a panic in Rust code"),
    sign("Internal error", "a fault in the kernel"),
    sign("Oops", "a fault in the kernel"),
    sign("kernel BUG at", "a BUG()"),
    sign("BUG:", "a bug that the kernel found"),
    sign("WARNING:", "a WARN()"),
    sign("Kernel panic", "a panic"),
];

/// Informative lines that happen to contain a sign.
const HARMLESS: &[&str] = &[
    "kmemleak: Kernel memory leak detector initialized",
    "kmemleak: Automatic memory scanning thread",
    // The guest judges leaks itself, against those of the boot.
    "new suspected memory leaks",
];

/// A splat that is to be expected and not the driver's.
#[derive(Debug)]
pub struct Accepted {
    /// What its first line contains.
    pub first: &'static str,
    /// What else its text contains.
    pub text: &'static str,
    /// Why it is accepted; printed whenever it is met.
    pub reason: &'static str,
}

const DEAD_SOCKET: &str = "virtio_uml itself warns of a dead connection, whatever the driver does";
const HRTIMER: &str =
    "the hrtimer doctests of the kernel put timers on the stack without saying so";

/// Before any of our code runs.
const START: &[Accepted] = &[Accepted {
    first: "suspicious RCU usage",
    text: "Callback enqueued on offline CPU",
    reason: "user-mode Linux frees memory on a processor that it is about to start",
}];

const BACKEND_DIES: &[Accepted] = &[
    Accepted {
        first: "virtio_uml.c",
        text: "vu_del_vqs",
        reason: DEAD_SOCKET,
    },
    Accepted {
        first: "virtio_uml.c",
        text: "vu_interrupt",
        reason: DEAD_SOCKET,
    },
];

const KUNIT: &[Accepted] = &[
    Accepted {
        first: "ODEBUG: object",
        text: "hrtimer_setup",
        reason: HRTIMER,
    },
    Accepted {
        first: "lib/debugobjects.c",
        text: "hrtimer_setup",
        reason: HRTIMER,
    },
    Accepted {
        first: "kmemleak: Cannot allocate a scan area",
        text: "scanning the full object",
        reason: "a suite made this allocation fail, too; kmemleak looks at more then",
    },
];

/// What may appear on the console of `scenario`.
pub fn accepted(scenario: &str) -> &'static [Accepted] {
    match scenario {
        "backend-dies" | "blk-backend-dies" | "blk-backend-restarts" => BACKEND_DIES,
        "kunit" => KUNIT,
        _ => &[],
    }
}

/// Trouble found on a console.
#[derive(Clone, Debug, PartialEq)]
pub struct Splat {
    /// Index of its first line.
    pub line: usize,
    pub meaning: &'static str,
    /// Its first lines.
    pub excerpt: Vec<String>,
    /// Why it does not count, if it does not.
    pub accepted: Option<&'static str>,
}

/// All splats in `lines`; what belongs to one is not reported again.
pub fn find<S: AsRef<str>>(lines: &[S], accepted: &[Accepted]) -> Vec<Splat> {
    let all = START.iter().chain(accepted);
    let mut found = Vec::new();
    let mut inside_until = 0;
    for (index, line) in lines.iter().enumerate() {
        let line = line.as_ref();
        let Some(sign) = sign_in(line) else { continue };
        // Taints and traces repeat words of the splat that they belong to, but
        // another splat must not hide in there.
        if index < inside_until && !starts_splat(line) {
            continue;
        }
        inside_until = end_of_splat(lines, index);
        let excerpt = excerpt(&lines[index..inside_until]);
        let expected = |entry: &&Accepted| {
            line.contains(entry.first) && excerpt.iter().any(|text| text.contains(entry.text))
        };
        found.push(Splat {
            line: index,
            meaning: sign.meaning,
            accepted: all.clone().find(expected).map(|entry| entry.reason),
            excerpt,
        });
    }
    found
}

fn sign_in(line: &str) -> Option<&'static Sign> {
    // What the guest says about a splat is not one.
    if line.contains(super::MARK) || HARMLESS.iter().any(|text| line.contains(text)) {
        return None;
    }
    SIGNS.iter().find(|sign| line.contains(sign.text))
}

fn starts_splat(line: &str) -> bool {
    [
        "WARNING:",
        "BUG:",
        "INFO:",
        "UBSAN:",
        "Oops",
        "Kernel panic",
    ]
    .iter()
    .any(|start| line.contains(start))
}

/// Where the text that follows a splat's first line ends, by the kernel's own
/// end marks, or after as many lines as are shown.
fn end_of_splat<S: AsRef<str>>(lines: &[S], start: usize) -> usize {
    let last = (start + SHOWN).min(lines.len());
    (start + 1..last)
        .find(|&index| {
            let line = lines[index].as_ref();
            line.contains("[ end trace") || line.contains(super::MARK)
        })
        .unwrap_or(last)
}

fn excerpt<S: AsRef<str>>(lines: &[S]) -> Vec<String> {
    let text = lines.iter().map(|line| line.as_ref().trim_end().to_owned());
    text.collect()
}

#[cfg(test)]
mod tests;
