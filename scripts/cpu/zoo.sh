#!/usr/bin/env bash
# The recognizers of recognizers/, one after another: PP-OCRv6's encoder and head, trained on rendered words alone or as they are. Needs the fonts of
# scripts/fonts.sh, npm (for scripts/web_fonts.py) and DPTR_DATA with natural/ (photographs); it goes on where it was interrupted.
# scripts/cpu/zoo.sh            # all
# scripts/cpu/zoo.sh korean     # one
# FONTS names folders in place of the two below, as JSON, and CROPS and MINUTES other numbers than those of the table.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${DPTR_DATA:?set DPTR_DATA to the folder that holds natural}"
export OMP_WAIT_POLICY=PASSIVE
dptr=${DPTR:-.venv/bin/dptr} python=${PYTHON:-.venv/bin/python} photographs=$DPTR_DATA/natural
fonts=${FONTS:-[\"/usr/share/fonts\",\"runs/web-fonts-world\"]}
mapfile -t folders < <($python -c 'import json, sys; print(*json.loads(sys.argv[1]), sep="\n")' "$fonts")
[ -n "${FONTS:-}" ] || $python scripts/web_fonts.py --list scripts/web-fonts-world.txt --out runs/web-fonts-world

draw() { # CODE CROPS SEED OUT PHOTOGRAPHS: words that training holds out, in fonts that it holds out
    $python research/evidence/recognizers.py --language "$1" --crops "$2" --seed "$3" --out "$4" --photographs "$5" --fonts "${folders[@]}"
}

# name, code of the charset, crops to train on, minutes of training; none: the published recognizer as it is
while read -r name code crops minutes; do
    [ -z "${1:-}" ] || [ "$1" = "$name" ] || continue
    draw "$code" 300 1000004 "runs/val-$code" "$photographs"
    draw "$code" 500 1000003 "runs/test-$code" "$photographs"
    draw "$code" 48 1000005 "runs/shown-$code" "" # the sheet goes with the package, and so has no photographs
    if [ "$minutes" = 0 ]; then
        model=runs/$name
        [ -d "$model" ] || $python scripts/published.py "$code" --validation "runs/val-$code" --out "$model"
    else
        model=runs/$name/model
        $dptr synth --config research/recipes/synth-language.toml --set charset="$code+space" --set render.backgrounds="$photographs" \
            --set render.fonts="$fonts" --set seed=11 --count "${CROPS:-$crops}" --out "runs/pack-$code" --resume
        $dptr finetune --config recipes/finetune-language.toml --set model.charset="$code+space" --set data.pack="runs/pack-$code" \
            --set "data.validation=[\"runs/val-$code\"]" --set run.seconds="$((60 * ${MINUTES:-$minutes}))" --out "runs/$name" --resume
    fi
    $python scripts/ship_recognizer.py "$model" "$name" --int8 --test "runs/test-$code" --shown "runs/shown-$code" --fonts "${folders[@]}"
done <<TABLE
chinese  zh       0     0
japanese ja       0     0
cyrillic cyrillic 10000 21
korean   ko       15000 24
TABLE
