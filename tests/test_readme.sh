#!/bin/sh
# The README names everything the program's registries hold, and its links lead somewhere.
# Usage: test_readme.sh DITHER SOURCE_FOLDER
set -eu
dither=$1 source=$2
status=0

# names stand two spaces in, their summaries further right
names=$("$dither" info | awk '/^[A-Z][a-z]+:$/ { group = $1 } /^  [^ ]/ && group != "Features:" { print $1 }')
[ "$(echo "$names" | wc -l)" -gt 20 ] || { echo "can't read the output of dither info"; exit 1; }
for name in $names; do
    grep -qF "\`$name\`" "$source/README.md" || { echo "README.md does not name \`$name\`"; status=1; }
done

cd "$source"
for document in README.md docs/*.md bench/README.md data/README.md; do
    folder=$(dirname "$document")
    for target in $(grep -oE '\]\([^)#: ]+' "$document" | cut -c3-) $(grep -oE '(src|srcset)="[^":]+"' "$document" | sed 's/.*="//; s/"$//'); do
        case $target in http | https | mailto) continue ;; esac
        [ -e "$folder/$target" ] || { echo "$document: link to $target, which is not there"; status=1; }
    done
done
exit $status
