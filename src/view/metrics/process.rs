//! What the program itself uses: the metrics that every Prometheus client library has, under their usual names.

use super::encode::MetricsPage;
use crate::sys::own_process::OwnProcess;

impl MetricsPage {
    /// The text, with what this process uses.
    pub(super) fn finish(mut self) -> String {
        add(&mut self, &OwnProcess::read());
        self.text()
    }
}

fn add(page: &mut MetricsPage, own: &OwnProcess) {
    if let Some(seconds) = own.cpu_seconds {
        page.seconds("process_cpu_seconds", "Processor time that this process has used", seconds);
    }
    let gauges = [
        ("process_resident_memory_bytes", "Resident memory of this process", own.resident_bytes),
        ("process_virtual_memory_bytes", "Address space of this process", own.virtual_bytes),
        ("process_open_fds", "Open files of this process", own.open_files),
        ("process_max_fds", "Most files that this process may have open", own.most_files),
        ("process_start_time_seconds", "Start of this process, in seconds since the epoch", own.started),
    ];
    for (name, help, value) in gauges {
        if let Some(value) = value {
            page.gauge(name, help, &[(&[], value)]);
        }
    }
}
