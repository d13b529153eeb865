//! Finds the GPUs that tasks of this process could use.
//!
//! NVIDIA: `nvidia-smi` where it answers, else `/proc/driver/nvidia/gpus`, else `/dev/nvidia*`; only devices that can be opened, since a container or a
//! cgroup may forbid some. AMD: `/sys/class/kfd`. `CUDA_VISIBLE_DEVICES` and `ROCR_VISIBLE_DEVICES` choose among them, as for any program.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::program;

/// How long `nvidia-smi` may take. Without a running driver daemon it initialises each GPU first.
const ANSWER: Duration = Duration::from_secs(10);

/// Who made the GPUs: it decides which variable shows them to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// `CUDA_VISIBLE_DEVICES`.
    Nvidia,
    /// `ROCR_VISIBLE_DEVICES`.
    Amd,
}

impl Vendor {
    /// The variable that names the GPUs that a program sees.
    #[must_use]
    pub fn variable(self) -> &'static str {
        match self {
            Self::Nvidia => "CUDA_VISIBLE_DEVICES",
            Self::Amd => "ROCR_VISIBLE_DEVICES",
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpus {
    /// Whose they are; `None` where there is none.
    pub vendor: Option<Vendor>,
    /// Their names as the variable of the vendor takes them: an index, or the identifier of a part of a GPU.
    pub names: Vec<String>,
    /// Why there is none, or why there are fewer than the machine has.
    pub note: Option<String>,
}

/// Where to look. Tests give directories of their own.
#[derive(Clone, Debug)]
pub struct Places {
    /// `/proc`.
    pub proc: PathBuf,
    /// `/dev`.
    pub dev: PathBuf,
    /// `/sys`.
    pub sys: PathBuf,
    /// Directories of programs, as in `PATH`.
    pub path: std::ffi::OsString,
    /// `CUDA_VISIBLE_DEVICES`; `None`: not set.
    pub cuda_visible: Option<String>,
    /// `ROCR_VISIBLE_DEVICES`; `None`: not set.
    pub rocr_visible: Option<String>,
    /// How long `nvidia-smi` may take.
    pub patience: Duration,
}

impl Places {
    /// Those of this machine and this process.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self {
            proc: "/proc".into(),
            dev: "/dev".into(),
            sys: "/sys".into(),
            path: std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()),
            cuda_visible: text(Vendor::Nvidia.variable()),
            rocr_visible: text(Vendor::Amd.variable()),
            patience: ANSWER,
        }
    }
}

/// A GPU that could be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gpu {
    index: String,
    /// `GPU-…`; empty where it is not known.
    uuid: String,
}

/// Looks. Blocking: it reads files, and waits for `nvidia-smi` where this machine has NVIDIA's driver.
#[must_use]
pub fn find(places: &Places) -> Gpus {
    let mut notes = Vec::new();
    for (vendor, found, visible) in [
        (Vendor::Nvidia, nvidia(places, &mut notes), &places.cuda_visible),
        (Vendor::Amd, amd(places, &mut notes), &places.rocr_visible),
    ] {
        if found.is_empty() {
            continue;
        }
        let names = match visible {
            None => found.into_iter().map(|gpu| gpu.index).collect(),
            Some(visible) => {
                let names = chosen(&found, visible);
                if names.is_empty() {
                    notes.push(format!("{} is {visible:?}, which names no GPU of this machine", vendor.variable()));
                }
                names
            }
        };
        if !names.is_empty() {
            return Gpus { vendor: Some(vendor), names, note: joined(notes) };
        }
    }
    let nothing = "this machine has no NVIDIA or AMD driver (/proc/driver/nvidia, /dev/nvidia0, /sys/class/kfd)";
    let note = joined(notes).unwrap_or_else(|| nothing.to_owned());
    Gpus { vendor: None, names: Vec::new(), note: Some(note) }
}

fn joined(notes: Vec<String>) -> Option<String> {
    (!notes.is_empty()).then(|| notes.join("; "))
}

/// What a variable of visible devices chooses, as the drivers read it: indices, or the beginning of an identifier, up to the first that is none.
fn chosen(found: &[Gpu], visible: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for wanted in visible.split(',').map(str::trim) {
        let gpu = match wanted.parse::<usize>() {
            Ok(index) => found.get(index),
            Err(_) if wanted.starts_with("GPU-") => found.iter().find(|gpu| gpu.uuid.starts_with(wanted)),
            Err(_) => None,
        };
        // A part of a GPU has no index.
        let is_part = wanted.starts_with("MIG-");
        match gpu.map(|gpu| gpu.index.clone()).or_else(|| is_part.then(|| wanted.to_owned())) {
            Some(name) if !names.contains(&name) => names.push(name),
            Some(_) | None => break,
        }
    }
    names
}

fn nvidia(places: &Places, notes: &mut Vec<String>) -> Vec<Gpu> {
    // By their place on the bus, which is the order of their indices: minor number of the device file, and identifier.
    let mut on_bus: Vec<(PathBuf, Option<u32>, String)> = entries(&places.proc.join("driver/nvidia/gpus"))
        .into_iter()
        .map(|dir| {
            let text = fs::read_to_string(dir.join("information")).unwrap_or_default();
            let value = |key: &str| text.lines().find_map(|line| Some(line.strip_prefix(key)?.trim().to_owned()));
            let minor = value("Device Minor:").and_then(|minor| minor.parse().ok());
            (dir, minor, value("GPU UUID:").unwrap_or_default())
        })
        .collect();
    on_bus.sort();
    if on_bus.is_empty() {
        // Without the directory (another kernel below us, as in WSL), the device files tell.
        let minor = |path: &Path| path.file_name()?.to_str()?.strip_prefix("nvidia")?.parse::<u32>().ok();
        let mut minors: Vec<u32> = entries(&places.dev).iter().filter_map(|path| minor(path)).collect();
        minors.sort_unstable();
        on_bus = minors.into_iter().map(|minor| (PathBuf::new(), Some(minor), String::new())).collect();
    }
    if on_bus.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (_, minor, uuid) in on_bus {
        let opened = match minor {
            Some(minor) => can_open(&places.dev.join(format!("nvidia{minor}"))),
            None => Ok(()),
        };
        match opened {
            Ok(()) => found.push(Gpu { index: found.len().to_string(), uuid }),
            Err(problem) => notes.push(problem),
        }
    }
    if found.is_empty() {
        return found;
    }
    match nvidia_smi(places) {
        Some(Ok(listed)) => listed,
        Some(Err(problem)) => {
            notes.push(problem);
            found
        }
        None => found,
    }
}

/// What `nvidia-smi` lists; `None` where there is no such program.
fn nvidia_smi(places: &Places) -> Option<Result<Vec<Gpu>, String>> {
    let program = program::find("nvidia-smi", &places.path)?;
    let args = ["--query-gpu=index,uuid", "--format=csv,noheader"];
    let text = match program::ask(&program, &args, &places.path, places.patience) {
        Ok(text) => text,
        Err(problem) => return Some(Err(format!("{}: {problem}", program.display()))),
    };
    let rows: Option<Vec<Gpu>> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (index, uuid) = line.split_once(',')?;
            let index = index.trim().parse::<u32>().ok()?.to_string();
            Some(Gpu { index, uuid: uuid.trim().to_owned() })
        })
        .collect();
    let rows = rows.filter(|rows| !rows.is_empty());
    Some(rows.ok_or_else(|| format!("{}: its answer is no list of GPUs", program.display())))
}

fn amd(places: &Places, notes: &mut Vec<String>) -> Vec<Gpu> {
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let mut nodes: Vec<(u32, PathBuf)> = entries(&places.sys.join("class/kfd/kfd/topology/nodes"))
        .into_iter()
        .filter_map(|path| Some((number(&path)?, path)))
        .collect();
    nodes.sort();
    let mut found = Vec::new();
    for (_, node) in nodes {
        // The kernel refuses to tell the number of a GPU that the cgroup forbids; 0 is a processor.
        match fs::read_to_string(node.join("gpu_id")) {
            Ok(id) if id.trim() == "0" || id.trim().is_empty() => continue,
            Ok(_) => {}
            Err(error) => {
                notes.push(format!("cannot read {}: {error}", node.join("gpu_id").display()));
                continue;
            }
        }
        let properties = fs::read_to_string(node.join("properties")).unwrap_or_default();
        let value = |key: &str| properties.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok());
        let render = value("drm_render_minor ").filter(|minor| *minor > 0);
        if let Some(minor) = render
            && let Err(problem) = can_open(&places.dev.join(format!("dri/renderD{minor}")))
        {
            notes.push(problem);
            continue;
        }
        let uuid = value("unique_id ").filter(|id| *id > 0).map(|id| format!("GPU-{id:016x}")).unwrap_or_default();
        found.push(Gpu { index: found.len().to_string(), uuid });
    }
    if !found.is_empty()
        && let Err(problem) = can_open(&places.dev.join("kfd"))
    {
        notes.push(problem);
        found.clear();
    }
    found
}

/// Permissions alone do not tell what a cgroup forbids.
fn can_open(path: &Path) -> Result<(), String> {
    let opened = File::options().read(true).write(true).open(path);
    opened.map(drop).map_err(|error| format!("cannot open {}: {error}", path.display()))
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A machine made of files.
    struct Machine {
        dir: tempfile::TempDir,
        places: Places,
    }

    impl Machine {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let at = |name: &str| dir.path().join(name);
            let places = Places {
                proc: at("proc"),
                dev: at("dev"),
                sys: at("sys"),
                path: at("bin").into(),
                cuda_visible: None,
                rocr_visible: None,
                patience: Duration::from_secs(20),
            };
            Self { dir, places }
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        }

        /// As `/proc/driver/nvidia/gpus` shows it.
        fn nvidia(&self, bus: &str, minor: u32, uuid: &str) {
            let text = format!(
                "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 123\nGPU UUID: \t {uuid}\nVideo BIOS: \t 96.00.99.00.01\n\
                 Bus Type: \t PCIe\nBus Location: \t {bus}\nDevice Minor: \t {minor}\nGPU Excluded:\t No\n"
            );
            self.file(&format!("proc/driver/nvidia/gpus/{bus}/information"), &text);
            self.file(&format!("dev/nvidia{minor}"), "");
        }

        /// Four of them; the order on the bus is not that of the device files.
        fn with_four() -> Self {
            let machine = Self::new();
            let minors = [1, 0, 2, 3];
            for (index, minor) in minors.into_iter().enumerate() {
                machine.nvidia(&format!("0000:{index}1:00.0"), minor, &format!("GPU-{index}aaaaaaa-0000"));
            }
            machine.file("dev/nvidiactl", "");
            machine.file("dev/nvidia-uvm", "");
            machine
        }

        fn smi(&self, script: &str) {
            let path = self.file("bin/nvidia-smi", &format!("#!/bin/sh\n{script}\n"));
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }

        fn amd(&self, node: u32, gpu_id: &str, properties: &str) {
            self.file(&format!("sys/class/kfd/kfd/topology/nodes/{node}/gpu_id"), gpu_id);
            self.file(&format!("sys/class/kfd/kfd/topology/nodes/{node}/properties"), properties);
        }

        fn names(&self) -> Vec<String> {
            find(&self.places).names
        }

        fn seen_with(&self, visible: &str) -> Vec<String> {
            find(&Places { cuda_visible: Some(visible.to_owned()), ..self.places.clone() }).names
        }
    }

    #[test]
    fn machine_without_any_says_so() {
        let found = find(&Machine::new().places);
        assert_eq!((found.vendor, found.names.len()), (None, 0));
        assert!(found.note.unwrap().contains("/proc/driver/nvidia"));
    }

    #[test]
    fn nvidia_gpus_are_found_without_nvidia_smi() {
        let machine = Machine::with_four();
        let found = find(&machine.places);
        assert_eq!(found.names, ["0", "1", "2", "3"]);
        assert_eq!((found.vendor, found.note), (Some(Vendor::Nvidia), None));
        fs::remove_dir_all(machine.dir.path().join("proc")).unwrap();
        assert_eq!(machine.names(), ["0", "1", "2", "3"], "by the device files");
    }

    #[test]
    fn device_that_cannot_be_opened_is_not_counted() {
        let machine = Machine::with_four();
        // The index 0 is the one with device file 1: what follows moves up, as in every program of NVIDIA.
        fs::remove_file(machine.dir.path().join("dev/nvidia1")).unwrap();
        let found = find(&machine.places);
        assert_eq!(found.names, ["0", "1", "2"]);
        assert!(found.note.unwrap().contains("cannot open"));
        assert_eq!(machine.seen_with("GPU-1aaa"), ["0"]);
        for minor in [0, 2, 3] {
            fs::remove_file(machine.dir.path().join(format!("dev/nvidia{minor}"))).unwrap();
        }
        let found = find(&machine.places);
        assert_eq!((found.vendor, found.names.len()), (None, 0));
        assert!(found.note.unwrap().contains("/dev/nvidia3"));
    }

    #[test]
    fn visible_devices_are_chosen_as_the_driver_does() {
        let machine = Machine::with_four();
        for (visible, names) in [
            ("", vec![]),
            ("-1", vec![]),
            ("NoDevFiles", vec![]),
            ("2", vec!["2"]),
            ("3,1", vec!["3", "1"]),
            (" 3 , 1 ", vec!["3", "1"]),
            ("0,7,1", vec!["0"]),
            ("1,1,2", vec!["1"]),
            ("GPU-2aaaaaaa-0000,GPU-0a", vec!["2", "0"]),
            ("GPU-9", vec![]),
            ("MIG-7,MIG-8", vec!["MIG-7", "MIG-8"]),
        ] {
            assert_eq!(machine.seen_with(visible), names, "{visible:?}");
        }
        let places = Places { cuda_visible: Some(String::new()), ..machine.places.clone() };
        assert_eq!(find(&places).note.unwrap(), "CUDA_VISIBLE_DEVICES is \"\", which names no GPU of this machine");
    }

    #[test]
    fn nvidia_smi_is_asked_where_it_answers_in_time() {
        let machine = Machine::with_four();
        machine.smi("test \"$*\" = '--query-gpu=index,uuid --format=csv,noheader' && printf '0, GPU-b\\n1, GPU-c\\n'");
        assert_eq!(machine.names(), ["0", "1"]);
        assert_eq!(machine.seen_with("GPU-c"), ["1"]);
        for (script, said) in
            [("exit 9", "it failed"), ("echo 'No devices were found'", "no list"), ("printf '\\377\\376'", "it failed")]
        {
            machine.smi(script);
            let found = find(&machine.places);
            assert_eq!(found.names.len(), 4, "{script}: the files tell");
            assert!(found.note.as_deref().unwrap().contains(said), "{script}: {found:?}");
        }
        machine.smi("exec /bin/sleep 60");
        let found = find(&Places { patience: Duration::from_millis(100), ..machine.places.clone() });
        assert_eq!(found.names.len(), 4);
        assert!(found.note.unwrap().contains("no answer within 0.1 s"));
    }

    #[test]
    fn nvidia_smi_is_not_run_where_there_is_no_driver() {
        let machine = Machine::new();
        machine.smi(&format!("touch {}/ran; printf '0, GPU-a\\n'", machine.dir.path().display()));
        assert_eq!(machine.names().len(), 0);
        assert!(!machine.dir.path().join("ran").exists());
    }

    #[test]
    fn amd_gpus_are_found_by_the_topology() {
        let machine = Machine::new();
        machine.amd(0, "0\n", "cpu_cores_count 64\n");
        machine.amd(2, "4242\n", "simd_count 416\ndrm_render_minor 129\nunique_id 4660\n");
        machine.amd(10, "4243\n", "drm_render_minor 130\nunique_id 255\n");
        for name in ["dev/kfd", "dev/dri/renderD129", "dev/dri/renderD130"] {
            machine.file(name, "");
        }
        let found = find(&machine.places);
        assert_eq!((found.vendor, found.names), (Some(Vendor::Amd), vec!["0".to_owned(), "1".to_owned()]));
        let visible =
            |text: &str| find(&Places { rocr_visible: Some(text.to_owned()), ..machine.places.clone() }).names;
        assert_eq!(visible("GPU-00000000000000ff"), ["1"]);
        assert_eq!(visible("1,0"), ["1", "0"]);
        assert_eq!(visible("").len(), 0);
        fs::remove_file(machine.dir.path().join("dev/dri/renderD129")).unwrap();
        assert_eq!(machine.names(), ["0"]);
        fs::remove_file(machine.dir.path().join("dev/kfd")).unwrap();
        assert_eq!(machine.names().len(), 0);
    }
}
