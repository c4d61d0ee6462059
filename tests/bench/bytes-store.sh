#!/bin/sh
# Imports the trees' packages, publishes three lists and makes the offers:
# bytes-store.sh PACKAGES HOME SECONDS; PACKAGES/{base,a,b}, HOME/{base,a,b} get the lists' names
set -eu
packages=$1 home=$2 seconds=$3
mkdir -p "$home"

# The kernel has another name in each release; all others are replaced under theirs.
name() {
	basename "$1" | sed 's/_.*//; s/^linux-image-.*/linux-image/'
}

# chosen DIRECTORY…: one file of each name, the last directory's
chosen() {
	for directory; do
		for file in "$packages/$directory"/*.pkg; do
			echo "$(name "$file") $file"
		done
	done | awk '{ file[$1] = $2 } END { for (n in file) print file[n] }' | sort
}

for list in "base base" "a base a" "b base a b"; do
	# shellcheck disable=SC2086 # words
	set -- $list
	as=$1
	shift
	chosen "$@" >"$home/$as.packages"
	# shellcheck disable=SC2046 # one file a word, no spaces in them
	bytes store "$home" $(cat "$home/$as.packages") >"$home/$as"
done
for to in a b; do
	echo "offer base to $to: $(bytes offer "$home" "$(cat "$home/base")" "$(cat "$home/$to")" "$seconds")"
done
