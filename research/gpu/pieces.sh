# shellcheck shell=bash
# What train-en.sh and evidence.sh share, to be sourced by them: work on a machine without a network, in pieces that end by
# themselves. They set python and the folders IN, BACK, OUT, WORK.
runs=$WORK/runs scratch=$WORK/scratch # what travels on, and what the next machine makes anew
words="{kind=\"file\", path=\"$IN/words.gz\", weight=0.75}" patterns='{kind="pattern", weight=0.25}'
sources="corpus.sources=[$words, $patterns]"
corpus=(--set "$sources")
render=(--set "render.fonts=[\"$scratch/fonts\"]" --set render.font_split=train --set "render.backgrounds=$IN/photographs")
export OMP_WAIT_POLICY=PASSIVE

keep_last() { # COMMAND...: the command, into $kept; of several --set of one key only the last, such as that of MORE
    local -A last=()
    local words=("$@") place setting
    for ((place = 0; place < $#; place++)); do
        if [ "${words[place]}" = --set ]; then setting=${words[place + 1]} && last[${setting%%=*}]=$place; fi
    done
    kept=()
    for ((place = 0; place < $#; place++)); do
        if [ "${words[place]}" != --set ]; then kept+=("${words[place]}") && continue; fi
        setting=${words[place + 1]}
        if [ "${last[${setting%%=*}]}" -eq "$place" ]; then kept+=(--set "$setting"); fi
        place=$((place + 1))
    done
}

step() { # NAME COMMAND...: once, cut off with its state saved when the time is over
    local name=$1 left=$((deadline - SECONDS)) code=0 kept
    shift
    keep_last "$@"
    if [ -e "$name.done" ]; then return; fi
    if [ "$left" -lt 10 ]; then exit 3; fi
    timeout --signal=INT --kill-after=60 --preserve-status "$left" "${kept[@]}" >>"$name.txt" 2>&1 || code=$?
    if [ "$code" -eq 130 ] || [ "$code" -eq 137 ]; then exit 3; fi
    if [ "$code" -ne 0 ]; then
        tail -n 5 "$name.txt" >&2
        exit "$code"
    fi
    touch "$name.done"
}

unpack() {
    mkdir -p "$runs" "$scratch/fonts" "$scratch/site"
    if [ ! -e "$scratch/unpacked" ]; then
        if [ -d "$BACK" ]; then cat "$BACK"/runs.tar.gz.* | tar -C "$runs" -xz; fi
        tar -C "$scratch/fonts" -xJf "$IN/fonts.tar.xz"
        if [ -d "$IN/wheels" ]; then
            $python -m pip install -q --no-index --no-deps --no-compile --target "$scratch/site" "$IN"/wheels/*.whl
        fi
        touch "$scratch/unpacked"
    fi
    export PYTHONPATH=$PWD:$PWD/weights:$PWD/$scratch/site
    case $scratch in /*) PYTHONPATH=$PWD:$PWD/weights:$scratch/site ;; esac
}

leave() { # TAR_OPTION...: what of $runs the next piece needs, into $OUT in parts of 15 MiB
    mkdir -p "$OUT"
    rm -f "$OUT"/runs.tar.gz.*
    tar -C "$runs" "$@" -c . | gzip -1 | split -b 15M -d - "$OUT/runs.tar.gz."
    ls -l "$OUT"
}

again() { # FOLDER COMMAND...: a dry run: pieces until all is done, each on a machine that holds nothing but inputs and what came back
    local folder=$1 code=3 piece=0
    shift
    while [ "$code" -eq 3 ] && [ "$piece" -lt 12 ]; do
        piece=$((piece + 1)) code=0
        echo "piece $piece"
        "$@" || code=$?
        rm -rf "$folder/back" "$folder/work"
        mv "$folder/out" "$folder/back"
    done
    echo "dry run of $piece pieces ends with code $code"
    exit "$code"
}
