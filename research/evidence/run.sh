#!/usr/bin/env bash
# The tables of docs/evidence: some 18 hours of two cores on a CPU that computes in bfloat16.
# Needs fonts (scripts/fonts.sh, and Debian's fonts-dseg for own crops of displays) and DPTR_DATA with natural/, iiit5k and
# ic15. What is done is not done again: start it anew at any time. SYNTHTIGER: a checkout of its repository, for research/bench/worth.py; without, a template of ours stands in.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${DPTR_DATA:?set DPTR_DATA to the folder that holds natural, iiit5k and ic15}"
export OMP_WAIT_POLICY=PASSIVE
dptr=${DPTR:-.venv/bin/dptr} python=${PYTHON:-.venv/bin/python} clone=${SYNTHTIGER:+--clone "$SYNTHTIGER"}

$dptr synth --count 300000 --workers 2 --set render.font_split=train --set render.backgrounds="$DPTR_DATA/natural" \
    --out runs/pack-en --resume
$python research/evidence/gain.py --pack runs/pack-en --out runs/gain
$python research/evidence/plot.py --runs runs/gain --numbers docs/evidence/gain.json --picture docs/assets/gain.png
$python research/evidence/orp.py --pack runs/pack-en --out runs/orp
$python research/evidence/decoders.py --pack runs/pack-en --out runs/decoders --shares
$python research/evidence/languages.py --photographs "$DPTR_DATA/natural" --out runs/languages
for domain in meters plates codes; do
    $python research/evidence/own.py --domain $domain --base dptr-en --out runs/own
done
$dptr synth --config recipes/synth/signs.toml --count 300000 --workers 2 --set render.font_split=train \
    --set render.backgrounds="$DPTR_DATA/natural" --out runs/pack-signs --resume
$python research/evidence/adapt.py --pack runs/pack-signs --out runs/adapt
$python research/evidence/retrieval.py --figure docs/assets/tokens.png
$python research/bench/worth.py --out runs/worth-200k --crops 200000 --engines trdg ours --jobs 2
$python research/bench/worth.py --out runs/worth-20k --crops 20000 --engines synthtiger ours --ablate --jobs 2 $clone
$python research/evidence/scenes.py --scenes "$DPTR_DATA/ic15/scenes" --out runs/scenes
$python research/evidence/curved.py --photographs "$DPTR_DATA/natural" --seed 2
