#!/usr/bin/env bash
# research/evidence/gain.py, larger, on a rented GPU (docs/gpu.md): svtr tiny for nano, an alignment of its own, research/recipes/gpu/evidence.
#
#   research/gpu/evidence.sh run [SECONDS]   on the GPU machine, with what train-en.sh pack-inputs left in $IN and, of another
#                                           machine, the last piece's files in $BACK; ends after SECONDS (540), files in $OUT
#   research/gpu/evidence.sh dry             all of it, tiny, on a CPU, in pieces of PIECE (60) seconds, 12 at most
#
# Exit code of run: 0 all is done, and the table is in $OUT/table.md; 3 run it again. IN, BACK, OUT, WORK are folders; STARTS which
# starts; CROPS how many crops the pack has; ALIGN the steps of alignment; TIMES so many times the steps of the CPU's runs; JOBS
# how many runs at once; MORE settings for all trainings, KEY=VALUE with spaces between.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
IN=${IN:-runs/gpu-inputs} BACK=${BACK:-runs/gpu-back} OUT=${OUT:-runs/gpu-out} WORK=${WORK:-runs/gpu-evidence}
STARTS=${STARTS:-a c d e f} CROPS=${CROPS:-350000} ALIGN=${ALIGN:-3000} TIMES=${TIMES:-1} JOBS=${JOBS:-4} MORE=${MORE:-}
WORKERS=${WORKERS:-$(nproc)}
. research/gpu/pieces.sh

run() {
    local code=0 more settings=() setting starts
    read -ra more <<<"$MORE"
    read -ra starts <<<"$STARTS"
    deadline=${1:-540}
    unpack
    mkdir -p "$scratch/data"
    for name in natural:photographs iiit5k:iiit5k ic15:ic15; do # as DPTR_DATA has them
        ln -sfn "$(realpath "$IN/${name#*:}")" "$scratch/data/${name%:*}"
    done
    for setting in "$sources" "render.fonts=[\"$scratch/fonts\"]" "${more[@]}"; do settings+=(--set "$setting"); done
    (
        step "$scratch/pack" "$python" -m dptr synth --count "$CROPS" --workers "$WORKERS" "${corpus[@]}" "${render[@]}" \
            --out "$scratch/pack" --resume
        step "$runs/glyph" "$python" -m dptr align --config recipes/align-en.toml --set run.batch_size=512 --set run.workers=4 \
            --set run.precision=bf16 --set "run.steps=$ALIGN" --set glyph.encoder.size=tiny --set "pack=$scratch/pack" \
            "${render[@]}" "${settings[@]}" --out "$runs/glyph" --resume
        DPTR_DATA=$scratch/data step "$runs/gain" "$python" research/evidence/gain.py --pack "$scratch/pack" \
            --glyph "$runs/glyph/model" --recipes research/recipes/gpu/evidence --times "$TIMES" --jobs "$JOBS" \
            --starts "${starts[@]}" "${settings[@]}" --out "$runs/gain"
    ) || code=$?
    leave --exclude=state --exclude='gain/*-[0-9]*/model' --exclude='gain/*-all-[0-9]*/model' --exclude='gain/residuals*'
    $python research/evidence/gain.py --pack "$scratch/pack" --out "$runs/gain" --table | tee "$OUT/table.md"
    echo "evidence: $([ "$code" -eq 0 ] && echo all done || echo "not done yet (code $code)") after $SECONDS s"
    exit "$code"
}

dry() {
    local folder=runs/gpu-evidence-dry
    rm -rf "$folder"
    IN=$folder/in
    PYTHONPATH=$PWD $python research/gpu/inputs.py --out "$IN" --font-folder ${FONTS:-/usr/share/fonts} --python "" --fonts 100 \
        --sets iiit5k ic15 --whole
    export IN BACK=$folder/back OUT=$folder/out WORK=$folder/work PYTHON=$python
    export CROPS=4000 ALIGN=8 TIMES=0.01 JOBS=2 WORKERS=2 STARTS="c d"
    export MORE="run.steps=8 run.batch_size=8 run.validate_every=50 run.save_every=2 run.device=cpu run.precision=no"
    again "$folder" "$0" run "${PIECE:-60}"
}

case ${1:-} in
    run) run "${2:-540}" ;;
    dry) dry ;;
    *) echo "evidence: unknown argument '${1:-}'; pass run or dry" >&2; exit 2 ;;
esac
