"""Redirect all pictures of a folder on all cores: python batch_folder.py photos/ redirected/

Each thread has its own session of one bundle. The models run outside of Python's lock.
"""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2

from mggr_edge import Bundle, Redirector

SUFFIXES = (".jpg", ".jpeg", ".png")
source, output = (Path(name) for name in sys.argv[1:])
output.mkdir(exist_ok=True)
local = threading.local()
cv2.setNumThreads(1)

with Bundle.open("default") as bundle:

    def redirect(path: Path) -> str:
        if not hasattr(local, "redirector"):
            local.redirector = Redirector(bundle.session())
        picture = cv2.imread(str(path))
        if picture is None:
            return f"{path.name}: cannot be read"
        result = local.redirector.redirect_image(picture, color="bgr")
        cv2.imwrite(str(output / path.name), result.frame)
        return f"{path.name}: {len(result.faces)} faces"

    pictures = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for line in pool.map(redirect, pictures):
            print(line)
