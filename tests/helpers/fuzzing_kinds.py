"""What is fuzzed, by name."""

from __future__ import annotations

from fuzzing import Make
from fuzzing_addresses import make_address_case
from fuzzing_bundles import make_bundle_case, make_contract_case
from fuzzing_images import make_image_case
from fuzzing_tables import make_correction_case, make_profile_case, make_table_case
from fuzzing_videos import make_video_case

KINDS: dict[str, Make] = {
    "image": make_image_case,
    "video": make_video_case,
    "contract": make_contract_case,
    "bundle": make_bundle_case,
    "address": make_address_case,
    "table": make_table_case,
    "profile": make_profile_case,
    "correction": make_correction_case,
}
