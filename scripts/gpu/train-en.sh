#!/usr/bin/env bash
# A larger dptr-en on a rented GPU, in pieces that each end by themselves and can be taken to another machine (docs/gpu.md).
#
#   scripts/gpu/train-en.sh pack-inputs     where fonts (scripts/fonts.sh) and DPTR_DATA are: fills $IN
#   scripts/gpu/train-en.sh run [SECONDS]   on the GPU machine, from $IN and, if there is one, $BACK, the last piece's files;
#                                           ends after SECONDS (540) and leaves this piece's in $OUT: 8 at most, of 15 MiB
#   scripts/gpu/train-en.sh dry             all of it, tiny, on a CPU, in pieces of PIECE (45) seconds, 12 at most
#
# Exit code of run: 0 all is trained, 3 run it again. IN, BACK, OUT, WORK are folders, CROPS how many crops are rendered,
# BANK how many of them make the bank of residuals, WORKERS the processes that render, MORE settings for all three trainings.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
IN=${IN:-runs/gpu-inputs} BACK=${BACK:-runs/gpu-back} OUT=${OUT:-runs/gpu-out} WORK=${WORK:-runs/gpu}
CROPS=${CROPS:-1500000} BANK=${BANK:-4000} WORKERS=${WORKERS:-$(nproc)} MORE=${MORE:-}
runs=$WORK/runs scratch=$WORK/scratch # what travels on, and what the next machine makes anew

step() { # NAME COMMAND...: once, cut off with its state saved when the time is over
    local name=$1 left=$((deadline - SECONDS)) code=0
    shift
    if [ -e "$name.done" ]; then return; fi
    if [ "$left" -lt 10 ]; then finish 3; fi
    timeout --signal=INT --kill-after=60 --preserve-status "$left" "$@" || code=$?
    if [ "$code" -eq 130 ] || [ "$code" -eq 137 ]; then finish 3; fi
    if [ "$code" -ne 0 ]; then finish "$code"; fi
    touch "$name.done"
}

finish() { # CODE: models, logs and the state of what is not done yet, in parts
    local name skipped=()
    for name in text direct finetune; do
        if [ -e "$runs/$name.done" ]; then skipped+=("--exclude=$name/state"); fi
    done
    rm -rf "$OUT"
    mkdir -p "$OUT"
    tar -C "$runs" "${skipped[@]}" -c . | gzip -1 | split -b 15M -d - "$OUT/runs.tar.gz."
    ls -l "$OUT"
    echo "train-en: $([ "$1" -eq 0 ] && echo all trained || echo "not done yet (code $1)") after $SECONDS s"
    exit "$1"
}

unpack() {
    mkdir -p "$runs" "$scratch"
    if [ -d "$BACK" ] && [ ! -e "$scratch/unpacked" ]; then cat "$BACK"/runs.tar.gz.* | tar -C "$runs" -xz; fi
    if [ ! -e "$scratch/unpacked" ]; then
        mkdir -p "$scratch/fonts" "$scratch/site"
        tar -C "$scratch/fonts" -xJf "$IN/fonts.tar.xz"
        if [ -d "$IN/wheels" ]; then
            $python -m pip install -q --no-index --no-deps --target "$scratch/site" "$IN"/wheels/*.whl
        fi
        touch "$scratch/unpacked"
    fi
    export PYTHONPATH=$PWD:$PWD/$scratch/site
}

run() {
    deadline=${1:-540}
    unpack
    local dptr=("$python" -m dptr) words patterns
    words="{kind=\"file\", path=\"$IN/words.gz\", weight=0.75}" patterns='{kind="pattern", weight=0.25}'
    local corpus=(--set "corpus.sources=[$words, $patterns]")
    local render=(--set "render.fonts=[\"$scratch/fonts\"]" --set render.font_split=train --set "render.backgrounds=$IN/photographs")
    # shellcheck disable=SC2206 # settings are words
    local more=($MORE)

    step "$scratch/pack" "${dptr[@]}" synth --count "$CROPS" --workers "$WORKERS" "${corpus[@]}" "${render[@]}" \
        --out "$scratch/pack" --resume
    if [ ! -e "$runs/text.done" ]; then
        step "$scratch/bank" "${dptr[@]}" bank --pack "$scratch/pack" --count "$BANK" --dual-model glyph-en \
            --out "$scratch/residuals"
    fi
    step "$runs/text" "${dptr[@]}" pretrain --config recipes/gpu/pretrain-en.toml --set "orp.bank=$scratch/residuals" \
        "${corpus[@]}" "${more[@]}" --out "$runs/text" --resume
    step "$runs/direct" "${dptr[@]}" align --config recipes/gpu/direct-en.toml --set "teach.start=$runs/text/model" \
        --set "pack=$scratch/pack" "${corpus[@]}" "${render[@]}" "${more[@]}" --out "$runs/direct" --resume
    step "$runs/finetune" "${dptr[@]}" finetune --config recipes/gpu/finetune-en.toml --set "data.pack=$scratch/pack" \
        --set "init.glyph=$runs/direct/model" --set "init.decoder=$runs/direct/decoder" "${corpus[@]}" "${render[@]}" \
        "${more[@]}" --data "$IN/iiit5k-train" --data "$IN/ic15-train" --out "$runs/finetune" --resume
    finish 0
}

dry() { # each piece on a machine that holds nothing but inputs and what came back
    local folder=runs/gpu-dry code=3 piece=0
    rm -rf "$folder"
    IN=$folder/in
    pack_inputs --python "" --fonts 100
    export IN BACK=$folder/back OUT=$folder/out WORK=$folder/work CROPS=400 BANK=300 WORKERS=2 PYTHON=$python
    export MORE="--set run.steps=8 --set run.batch=16 --set run.validate_every=4 --set run.save_every=2 --set run.workers=0
        --set run.device=cpu --set run.precision=no"
    while [ "$code" -eq 3 ] && [ "$piece" -lt 12 ]; do
        piece=$((piece + 1))
        echo "train-en: piece $piece"
        code=0
        "$0" run "${PIECE:-45}" || code=$?
        rm -rf "$BACK" "$WORK"
        mv "$OUT" "$BACK"
    done
    echo "train-en: dry run of $piece pieces ends with code $code"
    exit "$code"
}

pack_inputs() {
    PYTHONPATH=$PWD $python scripts/gpu/inputs.py --out "$IN" "$@"
}

case ${1:-} in
    pack-inputs) pack_inputs ;;
    run) run "${2:-540}" ;;
    dry) dry ;;
    *) echo "train-en: unknown argument '${1:-}'; pass pack-inputs, run or dry" >&2; exit 2 ;;
esac
