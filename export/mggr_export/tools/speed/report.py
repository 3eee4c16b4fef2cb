"""What was found about speed, as text."""

from __future__ import annotations

from mggr_export.tools.speed.measure import PRECISIONS, Speed


def speed_text(speed: Speed) -> str:
    """Tables for a terminal: against the rival, against this core, layer by layer."""
    lines = ["one thread, one TFLite interpreter, all in turns", ""]
    form = "{:<34} {:>10} {:>18}"
    lines.append(form.format("one eye", "median", "times as fast as"))
    lines.append(form.format("", "", "PRGAN's generator"))
    for precision in PRECISIONS:
        ms, ratio = speed.redirector_ms[precision], speed.ratio[precision]
        lines.append(form.format(f"redirector, {precision}", f"{ms:.2f} ms", f"{ratio:.1f}"))
    lines.append(form.format("PRGAN's generator, float32", f"{speed.rival_ms:.1f} ms", "1.0"))
    lines += ["", f"a float matrix product on this core: {speed.matrix_gmacs:.1f} GMAC/s"]
    for precision in PRECISIONS:
        rate, part = speed.convolution_gmacs(precision), speed.convolutions_ms(precision)
        rest = speed.redirector_ms[precision] - part
        lines.append(
            f"convolutions, {precision}: {part:.2f} ms, {rate:.1f} GMAC/s, "
            f"{rate / speed.matrix_gmacs:.0%} of that; everything else {rest:.2f} ms"
        )
    lines += ["", _LAYER.format("convolution", "MMAC", *_heads())]
    for layer in speed.layers:
        cells = []
        for precision in PRECISIONS:
            ms = layer.ms[precision]
            cells += [f"{ms:.3f}", f"{layer.mmac / ms:.1f}"]
        lines.append(_LAYER.format(layer.name, f"{layer.mmac:.2f}", *cells))
    return "\n".join([*lines, f"{speed.rounds} rounds; ms and GMAC/s"])


_LAYER = "{:<34} {:>6} {:>9} {:>8} {:>9} {:>8}"


def _heads() -> list[str]:
    return [word for precision in PRECISIONS for word in (precision, "GMAC/s")]
