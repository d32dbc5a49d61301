//! What this process has used, as the kernel counts it.

/// Processor time, octets written and memory.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system time in microseconds.
    pub cpu_us: f64,
    /// What was sent towards disks, in octets.
    pub written: u64,
    /// Memory in use, in MiB.
    pub resident_mib: u64,
}

/// How long a tick of the processor's clock in `/proc/self/stat` is: 100 a second on every Linux in use.
const TICK_US: f64 = 10_000.0;

impl Usage {
    /// Reads the counters.
    pub fn now() -> Self {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let member = |text: &str, name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
                .unwrap_or(0)
        };
        let stat = read("stat");
        // After the name, which may hold anything and ends with the last parenthesis.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |place: usize| -> f64 { fields.get(place).and_then(|text| text.parse().ok()).unwrap_or(0.0) };
        Self {
            cpu_us: (ticks(11) + ticks(12)) * TICK_US,
            written: member(&read("io"), "write_bytes:"),
            resident_mib: member(&read("status"), "VmRSS:") / 1024,
        }
    }

    /// Returns what was used since.
    pub fn since(self, before: Self) -> Self {
        Self {
            cpu_us: self.cpu_us - before.cpu_us,
            written: self.written.saturating_sub(before.written),
            ..self
        }
    }
}
