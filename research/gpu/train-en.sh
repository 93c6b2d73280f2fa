#!/usr/bin/env bash
# dptr-en and a larger one, together on a rented GPU, in pieces that each end by themselves (docs/gpu.md).
#
#   research/gpu/train-en.sh pack-inputs [--fonts N]   where fonts, DPTR_DATA and a decoder of scripts/cpu/train-en.sh are: fills $IN
#   research/gpu/train-en.sh render [SECONDS]   on the GPU machine, from $IN: the first pack of crops, all cores
#   research/gpu/train-en.sh speed           there: 150 steps of both models at once, to choose DIRECT and FINETUNE by
#   research/gpu/train-en.sh run [SECONDS]   there, after it: both models, and beside them the second pack; with $BACK, the last
#                                           piece's files; ends after SECONDS (540) and leaves this piece's in $OUT, 8 at most
#   research/gpu/train-en.sh dry             all of it, tiny, on a CPU, in pieces of PIECE (60) seconds, 12 at most
#
# Exit code of run: 0 all is trained, 3 run it again. IN, BACK, OUT, WORK are folders; SIZES the encoders; CROPS how many
# crops a pack has, FIRST those of the first; DIRECT, FINETUNE and AGAIN the steps of the trainings, DIRECT_small and its like of
# one size's alone; WORKERS the cores; MORE settings for all trainings. States travel too while all is less than 60 MiB.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
IN=${IN:-runs/gpu-inputs} BACK=${BACK:-runs/gpu-back} OUT=${OUT:-runs/gpu-out} WORK=${WORK:-runs/gpu}
SIZES=${SIZES:-small tiny} CROPS=${CROPS:-350000} FIRST=${FIRST:-${CROPS:-350000}}
DIRECT=${DIRECT:-2900} FINETUNE=${FINETUNE:-1800} AGAIN=${AGAIN:-2400}
WORKERS=${WORKERS:-$(nproc)} MORE=${MORE:-}
. research/gpu/pieces.sh

pack() { # NAME SEED WORKERS
    step "$scratch/$1" "$python" -m dptr synth --config recipes/synth/signs.toml --count "$CROPS" --workers "$3" \
        --set "seed=$2" "${corpus[@]}" "${render[@]}" --out "$scratch/$1" --resume
}

model() { # SIZE: rendered words, with a decoder that comes from text; labeled crops too; fewer of them, more augmented
    local size=$1 more
    read -ra more <<<"$MORE"
    local direct=DIRECT_$size finetune=FINETUNE_$size again=AGAIN_$size
    local labeled=(--set "data.pack=$scratch/second" --data "$IN/iiit5k/train" --data "$IN/ic15/train")
    step "$runs/direct-$size" "$python" -m dptr align --config research/recipes/gpu/direct-en.toml \
        --set "glyph.encoder.size=$size" --set "run.steps=${!direct:-$DIRECT}" --set "init.decoder=$IN/decoder" \
        --set "pack=$scratch/first" "${corpus[@]}" "${render[@]}" "${more[@]}" --out "$runs/direct-$size" --resume
    while [ ! -e "$scratch/second.done" ]; do
        if [ "$SECONDS" -gt $((deadline - 10)) ]; then exit 3; fi
        sleep 1
    done
    step "$runs/finetune-$size" "$python" -m dptr finetune --config research/recipes/gpu/finetune-en.toml \
        --set "run.steps=${!finetune:-$FINETUNE}" --set "init.glyph=$runs/direct-$size/model" \
        --set "init.decoder=$runs/direct-$size/decoder" "${corpus[@]}" "${render[@]}" "${more[@]}" "${labeled[@]}" \
        --out "$runs/finetune-$size" --resume
    step "$runs/again-$size" "$python" -m dptr finetune --config research/recipes/gpu/finetune-en.toml \
        --set run.seed=1 --set "run.steps=${!again:-$AGAIN}" --set data.rendered=0.9 --set data.augment=0.8 \
        --set "model.encoder.size=$size" --set "init.model=$runs/finetune-$size/model" "${corpus[@]}" "${render[@]}" \
        "${more[@]}" "${labeled[@]}" --out "$runs/again-$size" --resume
}

render() {
    deadline=${1:-100000}
    unpack
    CROPS=$FIRST pack first 2 "$WORKERS"
    tail -n 1 "$scratch/first.txt"
}

speed() {
    local size jobs=() more
    deadline=100000
    unpack
    read -ra more <<<"$MORE"
    CROPS=20000 pack speed 2 "$WORKERS"
    tail -n 1 "$scratch/speed.txt"
    for size in $SIZES; do
        (step "$scratch/speed-$size" "$python" -m dptr align --config research/recipes/gpu/direct-en.toml \
            --set "glyph.encoder.size=$size" --set run.steps=150 --set run.validate_every=150 --set run.save_every=150 \
            --set ramp=0 --set "init.decoder=$IN/decoder" --set "pack=$scratch/speed" "${corpus[@]}" "${render[@]}" \
            "${more[@]}" --out "$scratch/speed-$size" --resume) &
        jobs+=($!)
    done
    wait "${jobs[@]}"
    for size in $SIZES; do
        echo "$size:" && grep crops_per_second "$scratch/speed-$size/log.jsonl" | tail -n 3
        tail -n 2 "$scratch/speed-$size.txt"
    done
}

run() {
    local size name code=0 status job jobs=() skipped=()
    deadline=${1:-540}
    unpack
    if [ ! -e "$scratch/first.done" ]; then render "$deadline"; fi
    set -m # else Ctrl-C would be ignored in what goes on beside
    (pack second 3 $(((WORKERS + 1) / 2))) &
    jobs+=($!)
    for size in $SIZES; do
        (model "$size") &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do
        status=0
        wait "$job" || status=$?
        if [ "$status" -ne 0 ]; then code=$status; fi
    done
    for size in $SIZES; do # what is trained on needs no going back to
        for name in direct finetune again; do
            if [ -e "$runs/$name-$size.done" ]; then skipped+=("--exclude=$name-$size/state"); fi
        done
        if [ -e "$runs/finetune-$size.done" ]; then
            skipped+=("--exclude=direct-$size/model" "--exclude=direct-$size/decoder")
        fi
        if [ -e "$runs/again-$size.done" ]; then skipped+=("--exclude=finetune-$size/model"); fi
    done
    if [ "$(tar -C "$runs" "${skipped[@]}" -c . | wc -c)" -gt 62000000 ]; then
        echo "train-en: too much for all; states stay here, so another machine cannot go on with this"
        skipped+=("--exclude=state")
    fi
    leave "${skipped[@]}"
    echo "train-en: $([ "$code" -eq 0 ] && echo all trained || echo "not done yet (code $code)") after $SECONDS s"
    exit "$code"
}

dry() {
    local folder=runs/gpu-dry
    rm -rf "$folder"
    IN=$folder/in SIZES=tiny
    pack_inputs --python "" --fonts 100
    export IN SIZES BACK=$folder/back OUT=$folder/out WORK=$folder/work PYTHON=$python
    export CROPS=400 FIRST=400 WORKERS=2 DIRECT=8 FINETUNE=8 AGAIN=8
    export MORE="--set run.batch_size=16 --set run.validate_every=4 --set run.save_every=2
        --set run.device=cpu --set run.precision=no"
    MORE=${MORE//$'\n'/ }
    again "$folder" "$0" run "${PIECE:-60}"
}

pack_inputs() {
    PYTHONPATH=$PWD $python research/gpu/inputs.py --out "$IN" --decoder "${DECODER:-runs/direct-dptr-en/decoder}" \
        --font-folder ${FONTS:-/usr/share/fonts runs/web-fonts} --sets iiit5k ic15 --whole "$@"
}

case ${1:-} in
    pack-inputs) pack_inputs "${@:2}" ;;
    render) render "${2:-100000}" ;;
    speed) speed ;;
    run) run "${2:-540}" ;;
    dry) dry ;;
    *) echo "train-en: unknown argument '${1:-}'; pass pack-inputs, speed, render, run or dry" >&2; exit 2 ;;
esac
