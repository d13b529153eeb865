//! The states of a worker from running to stopped. It moves in one direction only, except where an operator lifts an order.

/// How far a worker is on its way out. Later ones are more severe. Only [`Self::Finishing`] goes back, when the operator lifts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lifecycle {
    /// Takes tasks.
    #[default]
    Open,
    /// Takes nothing new; what runs may end in its own time: the stop command, or asked to drain by an operator.
    Finishing,
    /// Takes nothing new; what runs has until the drain time-out: the first SIGTERM or SIGINT.
    Draining,
    /// What runs is terminated, with its grace, and given back: the drain time-out has passed.
    Returning,
    /// What runs is killed and given back now: the second signal.
    Killing,
}

impl Lifecycle {
    /// Whether new tasks are taken.
    #[must_use]
    pub fn is_open(self) -> bool {
        self == Self::Open
    }

    /// The state after a termination signal: the first drains, any further one kills.
    #[must_use]
    pub fn after_signal(self) -> Self {
        if self < Self::Draining { Self::Draining } else { Self::Killing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_signal_kills() {
        let first = Lifecycle::Open.after_signal();
        assert_eq!(first, Lifecycle::Draining);
        assert_eq!(first.after_signal(), Lifecycle::Killing);
        assert_eq!(Lifecycle::Finishing.after_signal(), Lifecycle::Draining);
        assert_eq!(Lifecycle::Returning.after_signal(), Lifecycle::Killing);
    }
}
