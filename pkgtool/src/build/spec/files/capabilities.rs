//! File capabilities as `setcap` writes them, and as the kernel keeps them.

/// By number, as `linux/capability.h` has them.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

const REVISION_2: u32 = 0x0200_0000;
const EFFECTIVE: u32 = 1;

/// `cap_net_raw,cap_net_admin=ep` as the bytes of `security.capability`, in hexadecimal.
pub(super) fn parse(text: &str) -> Result<String, String> {
    let wrong = || format!("capabilities {text:?} are not like \"cap_net_raw,cap_net_admin=ep\"");
    let (names, flags) = text.split_once(['=', '+']).ok_or_else(wrong)?;
    let mut bits = 0_u64;
    for name in names.split(',') {
        let short = name.trim().strip_prefix("cap_").ok_or_else(wrong)?;
        let number = NAMES.iter().position(|known| *known == short);
        bits |= 1 << number.ok_or_else(|| format!("there is no capability {name:?}"))?;
    }
    if flags.is_empty() || !flags.bytes().all(|flag| b"eip".contains(&flag)) {
        return Err(wrong());
    }
    let has = |flag: char| flags.contains(flag);
    let when = |set: bool| if set { bits } else { 0 };
    let (permitted, inheritable) = (when(has('p')), when(has('i')));
    let head = REVISION_2 | if has('e') { EFFECTIVE } else { 0 };
    let words = [
        low(permitted),
        low(inheritable),
        high(permitted),
        high(inheritable),
    ];
    let words = std::iter::once(head).chain(words);
    // Little-endian words, so their bytes are turned before they are written as one number.
    let texts: Vec<String> = words
        .map(|word| format!("{:08x}", word.swap_bytes()))
        .collect();
    Ok(texts.concat())
}

fn low(bits: u64) -> u32 {
    u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0)
}

fn high(bits: u64) -> u32 {
    low(bits >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_encoded_as_setcap_does() {
        // `setcap cap_net_bind_service=ep FILE; getfattr -e hex -n security.capability FILE`
        let bind = "0100000200040000000000000000000000000000";
        assert_eq!(parse("cap_net_bind_service=ep").as_deref(), Ok(bind));
        let bpf = "0000000200000000000000008000000000000000";
        assert_eq!(parse("cap_bpf+p").as_deref(), Ok(bpf));
        for bad in [
            "",
            "cap_net_raw",
            "cap_net_raw=",
            "net_raw=ep",
            "cap_x=ep",
            "cap_bpf=x",
        ] {
            parse(bad).unwrap_err();
        }
    }
}
