# How the demo speaks; sourced by its scripts. Colours only on a terminal.
bold='' dim='' green='' red='' off='' color=never
if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then
	bold=$(printf '\033[1m') dim=$(printf '\033[2m') green=$(printf '\033[32m') red=$(printf '\033[31m') off=$(printf '\033[0m')
	color=always
fi

title() { printf '\n%s== %s%s\n' "$bold" "$*" "$off"; }
say() { printf '%s\n' "$*"; }
good() { printf '%s✓%s %s\n' "$green" "$off" "$*"; }
fail() {
	printf '%s✗ %s%s\n' "$red" "$*" "$off" >&2
	exit 1
}
# show TEXT COMMAND…: the command as a person would type it, then what it says.
show() {
	printf '%s$ %s%s\n' "$dim" "$1" "$off"
	"${@:2}"
}
run() { show "$*" "$@"; }
# run_after_plan REMARK COMMAND…: run, with a remark in place of the plan.
run_after_plan() {
	local said remark=$1
	shift
	printf '%s$ %s%s\n' "$dim" "$*" "$off"
	said=$("$1" --color="$color" "${@:2}") || {
		say "$said"
		fail "this was to succeed"
	}
	say "… ($remark)"
	sed -n '/done:/,$p' <<<"$said"
}
