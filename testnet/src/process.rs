//! Processes by number *and* start time, so that nothing but what was started here is ever signalled.
//!
//! A process number alone is reused by the system; together with the start time it names one process for
//! as long as the machine runs.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

/// One process of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessName {
    /// Its number.
    pub pid: u32,
    /// When it started, as the system words it.
    pub started: String,
}

impl ProcessName {
    /// The process that has this number now; `None` when none has, or only a dead one not yet collected.
    pub fn of(pid: u32) -> Option<Self> {
        started(pid).map(|started| Self { pid, started })
    }

    /// This process itself.
    pub fn own() -> Self {
        let pid = std::process::id();
        Self { pid, started: started(pid).unwrap_or_default() }
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        started(self.pid).as_ref() == Some(&self.started)
    }

    /// Sends a signal if it still runs; says whether it did.
    pub fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return false };
        #[cfg(target_os = "linux")]
        {
            // The handle pins the process before its name is compared, so its number cannot be reused between.
            let Ok(handle) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else {
                return false;
            };
            self.is_running() && rustix::process::pidfd_send_signal(&handle, signal).is_ok()
        }
        #[cfg(not(target_os = "linux"))]
        {
            self.is_running() && rustix::process::kill_process(pid, signal).is_ok()
        }
    }

    /// Waits until it is gone; says whether it is. Blocks at most `limit`.
    pub fn wait_gone(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_running() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

/// Ends processes: asks all, waits for all under one deadline, then kills what is left. Returns how many
/// had to be killed.
pub fn end_all(processes: &[ProcessName], limit: Duration) -> usize {
    for process in processes {
        process.signal(Signal::TERM);
    }
    let deadline = Instant::now() + limit;
    let mut killed = 0;
    for process in processes {
        if !process.wait_gone(deadline.saturating_duration_since(Instant::now())) {
            process.signal(Signal::KILL);
            process.wait_gone(Duration::from_secs(5));
            killed += 1;
        }
    }
    killed
}

/// Field 22 of `/proc/PID/stat`, clock ticks since boot (proc_pid_stat(5)). The command name, field 2, may
/// hold anything, so counting starts after its closing parenthesis.
#[cfg(target_os = "linux")]
fn started(pid: u32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

#[cfg(not(target_os = "linux"))]
fn started(pid: u32) -> Option<String> {
    let pid = pid.to_string();
    let output = std::process::Command::new("ps").args(["-o", "stat=,lstart=", "-p", &pid]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (state, started) = text.trim().split_once(' ')?;
    if state.starts_with('Z') { None } else { Some(started.trim().to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_of_the_same_number_is_left_alone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let name = ProcessName::of(child.id()).unwrap();
        let reused = ProcessName { started: "1".into(), ..name.clone() };
        assert!(!reused.is_running());
        assert!(!reused.signal(Signal::KILL));
        assert!(child.try_wait().unwrap().is_none(), "it was not signalled");
        assert!(name.is_running());
        assert_eq!(end_all(std::slice::from_ref(&name), Duration::from_secs(20)), 0);
        assert!(!name.is_running(), "dead before it is collected");
        child.wait().unwrap();
        assert_eq!(ProcessName::of(child.id()), None);
        assert!(ProcessName::own().is_running());
    }
}
