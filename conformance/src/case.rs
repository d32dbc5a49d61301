//! What a case is, and what it can find.

use std::fmt;

use crate::suite::Run;

/// How strongly the text asks for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Failing it fails the run.
    Must,
    /// Failing it warns.
    Should,
    /// It is only recorded, but what is offered has to be right.
    May,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::May => "MAY",
        })
    }
}

/// Why a case did not pass.
#[derive(Debug)]
pub(crate) enum Finding {
    /// The target does otherwise.
    Fail(String),
    /// The feature is optional and the target does not advertise it.
    NotOffered(String),
    /// The run was not given what the case needs, or the target did not get far enough to be judged.
    Blocked(String),
}

/// What a case comes to.
pub(crate) type Judgement<T = ()> = Result<T, Finding>;

/// One requirement and the function that judges it.
pub(crate) struct Case {
    /// The function's name, which is the requirement's id with other separators.
    pub(crate) function: &'static str,
    pub(crate) level: Level,
    /// The text states it without a BCP 14 keyword, or it follows from other text.
    pub(crate) starred: bool,
    pub(crate) requirement: &'static str,
    pub(crate) judge: fn(&Run) -> Judgement,
}

impl Case {
    /// The requirement's id: `c8555_7_4_03` judges `8555-7.4-03`.
    pub(crate) fn id(&self) -> String {
        let parts: Vec<&str> = self.function.trim_start_matches('c').split('_').collect();
        match parts.as_slice() {
            [text, middle @ .., number] => format!("{text}-{}-{number}", middle.join(".").to_uppercase()),
            _ => self.function.to_owned(),
        }
    }
}

/// A table row: level (`must`, `must_read`, ...; `_read` marks a level that is our reading), function, requirement.
macro_rules! case {
    ($level:ident, $starred:expr, $function:ident, $requirement:expr) => {
        $crate::case::Case {
            function: stringify!($function),
            level: $crate::case::Level::$level,
            starred: $starred,
            requirement: $requirement,
            judge: $function,
        }
    };
}
macro_rules! must {
    ($function:ident, $requirement:expr) => {
        $crate::case::case!(Must, false, $function, $requirement)
    };
}
macro_rules! must_read {
    ($function:ident, $requirement:expr) => {
        $crate::case::case!(Must, true, $function, $requirement)
    };
}
macro_rules! should {
    ($function:ident, $requirement:expr) => {
        $crate::case::case!(Should, false, $function, $requirement)
    };
}
macro_rules! should_read {
    ($function:ident, $requirement:expr) => {
        $crate::case::case!(Should, true, $function, $requirement)
    };
}
macro_rules! may {
    ($function:ident, $requirement:expr) => {
        $crate::case::case!(May, false, $function, $requirement)
    };
}

/// Ends the case as failed unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::case::Finding::Fail(format!($($message)+)));
        }
    };
}

pub(crate) use {case, ensure, may, must, must_read, should, should_read};

/// Turns "the target did not get that far" into a failure, in the cases that judge exactly that step.
pub(crate) trait OrFail<T> {
    fn or_fail(self) -> Judgement<T>;
}

impl<T> OrFail<T> for Judgement<T> {
    fn or_fail(self) -> Self {
        self.map_err(|finding| match finding {
            Finding::Blocked(why) => Finding::Fail(why),
            other => other,
        })
    }
}

/// Turns a reader's complaint into a failure.
pub(crate) trait Complaint<T> {
    fn read_as(self, what: &str) -> Judgement<T>;
}

impl<T> Complaint<T> for Result<T, String> {
    fn read_as(self, what: &str) -> Judgement<T> {
        self.map_err(|why| Finding::Fail(format!("{what}: {why}")))
    }
}
