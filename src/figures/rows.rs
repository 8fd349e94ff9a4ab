//! What is counted, and where: a row for each process that nginx can have at the same time.
//!
//! A row has one writer, the process with its number (`process::number`), so that counting is a
//! load and a store. A number is used again only when its process was reaped, and the next process
//! goes on with the counters as they are. It sees the last value of its predecessor, because the end of a process happens before `waitpid` returns, and that
//! before `fork`. So a total never falls, on any processor: each counter is one atomic,
//! whose values every reader sees in the order in which they were stored. Relaxed is enough
//! for that.
//!
//! Gauges belong to a process and not to a slot. They are set to 0 before the new process's id
//! is stored (Release), so whoever has read that id (Acquire) does not see the gauges of the
//! one before.

#![forbid(unsafe_code)]

use crate::atomic::AtomicU64;
use crate::atomic::Ordering::{Acquire, Relaxed, Release};

macro_rules! figures {
    ($($figure:ident $name:literal $help:literal;)+) => {
        /// A figure: a number in each row.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Figure {
            $(#[doc = $name] $figure,)+
        }

        impl Figure {
            pub(crate) const ALL: &'static [Figure] = &[$(Figure::$figure),+];

            /// The name, with its labels, everywhere but in Prometheus' text format, where
            /// `nginx_lua_var_` precedes it.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Figure::$figure => $name,)+ }
            }

            /// What the metric says, and what to do about it; empty in all but the first
            /// figure of a metric.
            pub(crate) const fn help(self) -> &'static str {
                match self { $(Figure::$figure => $help,)+ }
            }
        }
    };
}

figures! {
    Workers "workers" "Workers that are running.";
    Live "live_requests" "Requests that are live and have a handle.";
    Registered "registered_total" "Requests that got a handle.";
    NotRegistered "not_registered_total"
        "Requests that got no handle for lack of memory: give the workers more.";
    RefusedStale "refused_total{reason=\"stale\"}"
        "Accesses of Lua that were refused; each is a mistake in the Lua that \
         nginx_lua_var_refused_by_total and the error log name.";
    RefusedNoVariables "refused_total{reason=\"no_variables\"}" "";
    RefusedLayout "refused_total{reason=\"layout\"}" "";
    RefusedBadArgument "refused_total{reason=\"bad_argument\"}" "";
    RestoredErrorPage "restored_total{redirect=\"error_page\"}"
        "How often ngx.ctx was restored after an internal redirect.";
    RestoredOther "restored_total{redirect=\"other\"}" "";
    NotRestoredOff "not_restored_total{reason=\"off\"}"
        "How often a lost ngx.ctx was not restored: off and not_error_page are settings of \
         lua_var_ctx_restore, other_vm is lua_code_cache off.";
    NotRestoredNotErrorPage "not_restored_total{reason=\"not_error_page\"}" "";
    NotRestoredOtherVm "not_restored_total{reason=\"other_vm\"}" "";
    NotRestoredGone "not_restored_total{reason=\"gone\"}" "";
    RetiredSlots "retired_slots" "Slots whose generations ran out, which a restart frees.";
    LayoutDiffers "layout_differs"
        "Workers in which the module is inert, because it was built for another nginx: build it \
         for this one.";
}

impl Figure {
    /// Whether the figure only grows. The others are gauges, to which a process that has
    /// ended contributes nothing.
    pub(crate) const fn is_counter(self) -> bool {
        !matches!(
            self,
            Figure::Workers | Figure::Live | Figure::RetiredSlots | Figure::LayoutDiffers
        )
    }
}

/// The figures of one process, on cache lines of their own.
#[derive(Default, Debug)]
#[repr(align(64))]
pub(crate) struct Row {
    /// Id of the process that serves requests with this number; 0 if there is none.
    pid: AtomicU64,
    figures: [AtomicU64; Figure::ALL.len()],
}

impl Row {
    pub(crate) fn pid(&self) -> u64 {
        self.pid.load(Acquire)
    }

    #[inline(always)]
    pub(crate) fn get(&self, figure: Figure) -> u64 {
        self.figures.get(figure as usize).map_or(0, |cell| cell.load(Relaxed))
    }

    #[inline(always)]
    pub(crate) fn set(&self, figure: Figure, value: u64) {
        if let Some(cell) = self.figures.get(figure as usize) {
            cell.store(value, Relaxed);
        }
    }

    /// Adds 1 to a figure. Only the process of the row may call this.
    #[inline(always)]
    pub(crate) fn count(&self, figure: Figure) {
        self.set(figure, self.get(figure).wrapping_add(1));
    }

    /// Hands the row to the process with this id, or with 0 to none. Only the process of the
    /// row may call this.
    pub(crate) fn hand_to(&self, pid: u64) {
        for figure in Figure::ALL {
            if !figure.is_counter() {
                self.set(*figure, 0);
            }
        }
        self.set(Figure::Workers, u64::from(pid != 0));
        self.pid.store(pid, Release);
    }
}

/// The rows of all processes. Zero bytes are rows that no process has had.
#[derive(Debug)]
pub(crate) struct Rows<const N: usize> {
    rows: [Row; N],
    /// The highest number that had a process, plus 1, so that only those rows are read.
    used: AtomicU64,
}

impl<const N: usize> Rows<N> {
    pub(crate) fn of(&self, number: usize) -> Option<&Row> {
        self.used.fetch_max(number.wrapping_add(1) as u64, Relaxed);
        self.rows.get(number)
    }

    fn used(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().take(self.used.load(Relaxed) as usize)
    }

    pub(crate) fn running(&self, is_alive: fn(u64) -> bool) -> impl Iterator<Item = &Row> {
        self.used().filter(move |row| {
            let pid = row.pid();
            pid != 0 && is_alive(pid)
        })
    }

    /// The sum of a figure; a counter includes the processes that have ended.
    pub(crate) fn sum(&self, figure: Figure, is_alive: fn(u64) -> bool) -> u64 {
        let add = |sum: u64, row: &Row| sum.wrapping_add(row.get(figure));
        if figure.is_counter() {
            self.used().fold(0, add)
        } else {
            self.running(is_alive).fold(0, add)
        }
    }
}

impl<const N: usize> Default for Rows<N> {
    fn default() -> Self {
        Rows { rows: core::array::from_fn(|_| Row::default()), used: AtomicU64::new(0) }
    }
}
