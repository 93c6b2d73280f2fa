#!/usr/bin/env bash
# The recognizers of recognizers/, one after another: PP-OCRv6 as it is published, or dptr-latin trained on rendered words. Needs the fonts of
# scripts/fonts.sh, npm (for scripts/web_fonts.py) and DPTR_DATA with natural/ (photographs); it goes on where it was interrupted.
# scripts/cpu/zoo.sh            # all
# scripts/cpu/zoo.sh korean     # one
# FONTS names folders in place of the two below, as JSON, and MINUTES another number than that of the table.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${DPTR_DATA:?set DPTR_DATA to the folder that holds natural}"
export OMP_WAIT_POLICY=PASSIVE
dptr=${DPTR:-.venv/bin/dptr} python=${PYTHON:-.venv/bin/python} photographs=$DPTR_DATA/natural
fonts=${FONTS:-[\"/usr/share/fonts\",\"runs/web-fonts-world\"]}
mapfile -t folders < <($python -c 'import json, sys; print(*json.loads(sys.argv[1]), sep="\n")' "$fonts")
[ -n "${FONTS:-}" ] || $python scripts/web_fonts.py --list scripts/web-fonts-world.txt --out runs/web-fonts-world

draw() { # CODE CROPS SEED OUT PHOTOGRAPHS [--words]: words that training holds out, in fonts that it holds out
    $python research/evidence/recognizers.py --language "$1" --crops "$2" --seed "$3" --out "$4" --photographs "$5" "${@:6}" --fonts "${folders[@]}"
}

ship() { # MODEL NAME TEST SHOWN
    $python scripts/ship_recognizer.py "$1" "$2" --int8 --test "$3" --shown "$4" --fonts "${folders[@]}"
}

train() { # CODE MINUTES OUT START [OPTIONS]
    [ -d "$3" ] && resume=--resume || resume=
    OMP_NUM_THREADS=1 $dptr finetune --config recipes/finetune-language.toml --set init.model="$4" --set model.charset="$1+space" \
        --set render.backgrounds="$photographs" --set render.fonts="$fonts" --set "data.validation=[\"runs/val-$1\"]" \
        --set run.seconds="$((60 * ${MINUTES:-$2}))" --out "$3" "${@:5}" $resume
}

# Settings of a first and of a second run beside those of the recipe
declare -A first_run=([arabic]="--set run.seed=11" [greek]="--set run.seed=11" [korean]="--set run.seed=11 --set decomposition=unicode")
declare -A second_run=(
    [cyrillic]="--set run.seed=8 --set optim.lr=2.5e-4"
    [arabic]="--set run.seed=12 --set optim.lr=3e-4 --set optim.ema_decay=0.995 --set model.encoder.kind=ppocr --set model.encoder.stretch=1.5"
)

# Lines: name, code of the charset, minutes of training from dptr-latin; 0: PP-OCRv6 as it is published. Minutes of a second run from the first, and
# the share of the first run in the mean of both; none: the second run alone
while read -r name code minutes second share; do
    [ -z "${1:-}" ] || [ "$1" = "$name" ] || continue
    draw "$code" 300 1000004 "runs/val-$code" "$photographs"
    draw "$code" 500 1000003 "runs/test-$code" "$photographs"
    draw "$code" 48 1000005 "runs/shown-$code" "" # the sheet goes with the package, and so has no photographs
    if [ "$minutes" = 0 ]; then
        model=runs/$name
        [ -d "$model" ] || $python scripts/published.py "$code" --validation "runs/val-$code" --out "$model"
    else
        # shellcheck disable=SC2086
        train "$code" "$minutes" "runs/$name" dptr-latin ${first_run[$name]:-}
        model=runs/$name/model
        if [ -n "$second" ]; then
            # shellcheck disable=SC2086
            train "$code" "$second" "runs/$name-second" "$model" ${second_run[$name]}
            if [ -z "$share" ]; then
                model=runs/$name-second/model
            else
                [ -d "runs/$name-mean" ] || $python scripts/mean_weights.py "runs/$name-second/model" "$model" --share "$share" \
                    --validation "runs/val-$code" --out "runs/$name-mean"
                model=runs/$name-mean
            fi
        fi
    fi
    ship "$model" "$name" "runs/test-$code" "runs/shown-$code"
done <<TABLE
chinese  zh       0
japanese ja       0
cyrillic cyrillic 95 90 0.3
arabic   ar       87 55
korean   ko       88
greek    el       95
TABLE

# Words, one thread each: name, code, the recognizer to start from, minutes of each round
while read -r name code start rounds; do
    [ -z "${1:-}" ] || [ "$1" = "$name" ] || continue
    draw "$code" 48 1000005 "runs/shown-$code" "" --words
    seed=0
    for minutes in $rounds; do
        out=runs/$name-$seed
        [ -d "$out" ] && resume=--resume || resume=
        OMP_NUM_THREADS=1 $dptr new-language "$code" --model "$start" --minutes "${MINUTES:-$minutes}" --seed "$seed" \
            --photographs "$photographs" "${folders[@]/#/--fonts=}" --out "$out" $resume
        start=$out/finetune/model seed=$((seed + 1))
    done
    ship "$out" "$name" "$out/test" "runs/shown-$code"
done <<TABLE
devanagari devanagari dptr-latin 50
bengali bn dptr-latin 95
tamil ta dptr-latin 95
hebrew he dptr-latin 56 42
thai th dptr-latin 100 42 45
TABLE
