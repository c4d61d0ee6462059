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
# Newest first, in Debian's order.
newest_first() {
	local sorted=() v i
	while read -r v; do
		for ((i = 0; i < ${#sorted[@]}; i++)); do
			dpkg --compare-versions "$v" gt "${sorted[i]}" && break
		done
		sorted=("${sorted[@]:0:i}" "$v" "${sorted[@]:i}")
	done
	printf '%s\n' "${sorted[@]}"
}
