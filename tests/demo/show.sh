# How the demo speaks; sourced by its scripts.
bold=$(printf '\033[1m') dim=$(printf '\033[2m') green=$(printf '\033[32m') red=$(printf '\033[31m') off=$(printf '\033[0m')
[ -t 1 ] || bold='' dim='' green='' red='' off=''

title() { printf '\n%s== %s%s\n' "$bold" "$*" "$off"; }
say() { printf '%s\n' "$*"; }
good() { printf '%s✓%s %s\n' "$green" "$off" "$*"; }
fail() {
	printf '%s✗ %s%s\n' "$red" "$*" "$off" >&2
	exit 1
}
run() {
	printf '%s$ %s%s\n' "$dim" "$*" "$off"
	"$@"
}
