//! The scripts that a shell reads.

use clap::ValueEnum;

/// A shell with completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash 4 or newer
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

impl Shell {
    /// All of them.
    pub(in crate::cli) const ALL: [Self; 3] = [Self::Bash, Self::Zsh, Self::Fish];

    /// The name of the file in which this shell looks for the completion of a program.
    pub(in crate::cli) fn file_of(self, program: &str) -> String {
        match self {
            Self::Bash => format!("{program}.bash"),
            Self::Zsh => format!("_{program}"),
            Self::Fish => format!("{program}.fish"),
        }
    }
}

/// The script that gives these programs their completion in `shell`.
pub(in crate::cli) fn script(shell: Shell, programs: &[&str]) -> String {
    let text = match shell {
        Shell::Bash => include_str!("complete.bash"),
        Shell::Zsh => include_str!("complete.zsh"),
        Shell::Fish => include_str!("complete.fish"),
    };
    let mut text = text.replace("@PROGRAMS@", &programs.join(" "));
    if shell == Shell::Fish {
        for program in programs {
            text.push_str(&format!("complete -c {program} -f -k -a '(__distcomp_complete)'\n"));
        }
    }
    text
}
