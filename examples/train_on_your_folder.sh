#!/usr/bin/env bash
# Train on your own photographs, and export the result:
#   train_on_your_folder.sh PHOTOS FOLDER [OPTIONS OF mggr-tf train]
#
# PHOTOS contains photographs whose names state the gaze; docs/data.md describes the names.
set -euo pipefail
photos=$1 folder=$2
shift 2
mkdir -p "$folder"
mggr-tf data crop "$photos" "$folder/eyes"
mggr-tf data check "$folder/eyes"
mggr-tf train --from default --data "$folder/eyes" --out "$folder/run" "$@"
mggr-tf export "$folder/run" --int8 --out "$folder/bundle"
echo "now run: mggr-edge run me.jpg --model $folder/bundle"
