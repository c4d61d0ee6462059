//! Values of unit settings: times, signals, modes, switches.

use std::time::Duration;

use model::span::Span;

/// A time as systemd writes it (systemd.time(7)): `90`, `1min 30s`, `1.5h`, `infinity`.
pub fn time(text: &str) -> Option<Span> {
    let text = text.trim();
    if text == "infinity" {
        return Some(Span::Infinite);
    }
    let mut total = 0_f64;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let tail = tail.trim_start();
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c.is_whitespace())
            .unwrap_or(tail.len());
        let (name, tail) = tail.split_at(end);
        total += number.parse::<f64>().ok()? * unit(name)?;
        rest = tail.trim_start();
    }
    // Whole microseconds, as systemd counts them.
    Duration::try_from_secs_f64((total * 1e6).round() / 1e6)
        .ok()
        .map(Span::Finite)
}

/// A time-out, where 0 means that there is none.
pub fn time_out(text: &str) -> Option<Span> {
    let span = time(text)?;
    Some(if span == Span::Finite(Duration::ZERO) {
        Span::Infinite
    } else {
        span
    })
}

/// Seconds in one of these; no name: a second.
fn unit(name: &str) -> Option<f64> {
    Some(match name {
        "" | "s" | "sec" | "second" | "seconds" => 1.0,
        "us" | "µs" | "μs" | "usec" => 1e-6,
        "ms" | "msec" => 1e-3,
        "m" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hour" | "hours" => 3_600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" => 604_800.0,
        "M" | "month" | "months" => 2_629_800.0,
        "y" | "year" | "years" => 31_557_600.0,
        _ => return None,
    })
}

/// `SIGTERM`, `TERM` or `15` by its full name.
pub fn signal(text: &str) -> Option<String> {
    use nix::sys::signal::Signal;
    if let Ok(number) = text.parse::<i32>() {
        return Signal::try_from(number)
            .ok()
            .map(|signal| signal.as_str().to_owned());
    }
    let name = if text.starts_with("SIG") {
        text.to_owned()
    } else {
        format!("SIG{text}")
    };
    if name.parse::<Signal>().is_ok() || name.starts_with("SIGRTMIN+") {
        return Some(name);
    }
    None
}

/// An access mode or mask, as four octal digits.
pub fn mode(text: &str) -> Option<String> {
    let value = u32::from_str_radix(text, 8)
        .ok()
        .filter(|value| *value <= 0o7777)?;
    Some(format!("{value:04o}"))
}

/// `yes`, `true`, `on`, `1`, and their contraries.
pub fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

/// `LimitNOFILE=`: one number, or `SOFT:HARD`, of which the first counts.
pub fn limit(text: &str) -> Option<u64> {
    let soft = text.split(':').next()?.trim();
    if soft == "infinity" {
        Some(u64::MAX)
    } else {
        soft.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_systemd_reads_them() {
        for (text, millis) in [
            ("90", 90_000),
            ("5s", 5_000),
            ("1min 30s", 90_000),
            ("1.5h", 5_400_000),
            ("250ms", 250),
            ("2 min", 120_000),
            ("1m30", 90_000),
            ("0", 0),
            ("0.1", 100),
            ("1d", 86_400_000),
            ("2weeks", 1_209_600_000),
        ] {
            assert_eq!(
                time(text),
                Some(Span::Finite(Duration::from_millis(millis))),
                "{text}"
            );
        }
        assert_eq!(time("infinity"), Some(Span::Infinite));
        for bad in ["", "soon", "5 parsecs", "-1", "1..2", "s"] {
            assert_eq!(time(bad), None, "{bad}");
        }
        assert_eq!(time_out("0"), Some(Span::Infinite));
        assert_eq!(time_out("0s"), Some(Span::Infinite));
        assert_eq!(time_out("5"), Some(Span::seconds(5)));
    }

    #[test]
    fn signals_modes_and_switches_have_one_spelling() {
        for (text, name) in [("15", "SIGTERM"), ("QUIT", "SIGQUIT"), ("SIGINT", "SIGINT")] {
            assert_eq!(signal(text).as_deref(), Some(name));
        }
        assert_eq!(signal("SIGRTMIN+3").as_deref(), Some("SIGRTMIN+3"));
        assert_eq!(signal("SIGNONE"), None);
        assert_eq!(mode("007").as_deref(), Some("0007"));
        assert_eq!(mode("2755").as_deref(), Some("2755"));
        assert_eq!(mode("99"), None);
        assert_eq!(switch("Yes"), Some(true));
        assert_eq!(switch("maybe"), None);
        assert_eq!(limit("1024:4096"), Some(1024));
        assert_eq!(limit("infinity"), Some(u64::MAX));
    }
}
