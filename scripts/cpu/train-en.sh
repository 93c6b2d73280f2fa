#!/usr/bin/env bash
# The weights that ship, from nothing: about an hour and a half of two cores. Needs fonts (scripts/fonts.sh) and DPTR_DATA with
# natural/ (photographs), iiit5k/train and ic15/train (labelled crops); each command goes on where it was interrupted.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${DPTR_DATA:?set DPTR_DATA to the folder that holds natural, iiit5k and ic15}"
export OMP_WAIT_POLICY=PASSIVE
dptr=${DPTR:-.venv/bin/dptr} python=${PYTHON:-.venv/bin/python} photographs=$DPTR_DATA/natural

$dptr synth --count 300000 --workers 2 --set render.font_split=train --set render.backgrounds="$photographs" \
    --out runs/pack-en --resume
$dptr align --config recipes/align-en.toml --set pack=runs/pack-en --set render.backgrounds="$photographs" \
    --out runs/glyph-en --resume
$python scripts/ship.py runs/glyph-en/model glyph-en --note "backgrounds: 500 photographs of BSDS500"
$dptr bank --images "$photographs" --dual-model glyph-en -o dptr/weights/glyph-en/photographs.safetensors
$dptr bank --pack runs/pack-en --count 1000 --dual-model glyph-en -o dptr/weights/glyph-en/residuals.safetensors
$dptr bank --pack runs/pack-en --dual-model glyph-en --out runs/residuals-en
$dptr pretrain --config recipes/evidence/text.toml --set orp.bank=runs/residuals-en --set orp.strength=1 \
    --set orp.positions=symbols --out runs/decoder-en --resume
$dptr align --config recipes/evidence/direct.toml --set run.steps=5800 --set teach.start=runs/decoder-en/model \
    --set pack=runs/pack-en --set render.backgrounds="$photographs" --out runs/direct-en --resume
$dptr finetune --config recipes/finetune-en.toml --set render.backgrounds="$photographs" --set data.pack=runs/pack-en \
    --set init.glyph=runs/direct-en/model --set init.decoder=runs/direct-en/decoder \
    --data "$DPTR_DATA/iiit5k/train" --data "$DPTR_DATA/ic15/train" --out runs/dptr-en --resume
$python scripts/ship.py runs/dptr-en/model dptr-en --data iiit5k/test --data ic15/test \
    --note "decoder first on text alone, then with the encoder on 371,200 rendered words"
