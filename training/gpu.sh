#!/bin/sh
# Train the photo prior for some minutes of wall clock on a GPU: packs the images into at most 30 MB,
# unpacks them into the cache of crops, trains, and writes weights.safetensors (at most 16 MB) and log.csv.
#
#   SCENES="scenes64.tar" PHOTOS="photos.tar more.tar" EVAL="kodak/*.png" training/gpu.sh MINUTES [options of train.py]
#
# What is there already is not made again. To train on another machine, run it once here with 0 minutes,
# copy the repository with build/training/pack, and run it there (SCENES and PHOTOS are not needed then).
# Stopped by a signal or run again with more minutes, it goes on from its checkpoint; a machine without
# the checkpoint goes on from the weights: --start weights.safetensors.
#
# DEVICE=cpu     the same on a CPU, without CUDA graphs (torch.compile needs a C++ compiler there)
# MEGABYTES=30   the size of the pack
# PYTHON=python  the interpreter
# WORK=...       where the pack, the cache and the checkpoint are; build/training
# OUT=...        where the weights and the log go, results alone; $WORK/out
set -eu
[ $# -ge 1 ] || { sed -n '2,17s/^# \{0,1\}//p' "$0"; exit 2; }
minutes=$1
shift
cd "$(dirname "$0")/.."
: "${DEVICE:=cuda}" "${PYTHON:=python}" "${WORK:=build/training}" "${EVAL:=}" "${SCENES:=}" "${PHOTOS:=}" "${MEGABYTES:=30}"
: "${OUT:=$WORK/out}"
export PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}"
pack=$WORK/pack cache=$WORK/cache.safetensors run=$WORK/run
mkdir -p "$WORK" "$OUT"

# The lists of files are split, and their patterns expanded, on purpose.
if [ ! -e "$pack/photos.tar" ]; then
    [ -n "$PHOTOS" ] || { echo "no $pack/photos.tar, and PHOTOS names no pictures" >&2; exit 2; }
    # shellcheck disable=SC2086
    $PYTHON training/pack.py --scenes $SCENES --photos $PHOTOS --megabytes "$MEGABYTES" --out "$pack.part"
    mv "$pack.part" "$pack"
fi
[ "$minutes" != 0 ] || exit 0
if [ ! -e "$cache" ]; then
    scenes=
    [ ! -e "$pack/scenes.tar" ] || scenes=$pack/scenes.tar
    $PYTHON training/prepare.py --scenes $scenes --photos "$pack/photos.tar" --out "$cache"
fi

graph=--graph
if [ "$DEVICE" = cpu ]; then
    graph=
else
    nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | tee "$OUT/card.txt"
fi
# shellcheck disable=SC2086
$PYTHON training/train.py --cache "$cache" --out "$run" --device "$DEVICE" $graph --compile --bf16 \
    --hours "$($PYTHON -c "print($minutes / 60)")" ${EVAL:+--eval $EVAL} --every 1 --batch 64 "$@"
cp "$run/weights.safetensors" "$run/log.csv" "$OUT/"
