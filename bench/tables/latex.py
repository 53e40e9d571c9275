"""Text as LaTeX: whatever a label or a message holds, the document compiles and shows it."""

from __future__ import annotations

import re
import unicodedata

from bench.tables.layout import printable

FALLBACK = r"\ifdefined\Umathchar"
"""Before a letter that pdfLaTeX has no glyph for; there its number is printed."""

_SIGNS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": r"\textasciigrave{}", '"': "{''}",
    "<": r"$<$", ">": r"$>$", "–": "--", "—": "---", "…": r"\dots{}", "“": "``", "”": "''", "‘": "{`}", "’": "'",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "→": r"$\rightarrow$", "←": r"$\leftarrow$", "†": r"$\dagger$",
    "‡": r"$\ddagger$", "¶": r"\P{}", "×": r"$\times$", "·": r"$\cdot$", "±": r"$\pm$", "−": r"$-$", "≤": r"$\leq$",
    "≥": r"$\geq$", "≈": r"$\approx$", "∞": r"$\infty$", "°": r"$^{\circ}$", "²": r"$^{2}$", "³": r"$^{3}$",
    "µ": r"$\mu$", "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "δ": r"$\delta$", "ε": r"$\varepsilon$",
    "η": r"$\eta$", "θ": r"$\theta$", "κ": r"$\kappa$", "λ": r"$\lambda$", "μ": r"$\mu$", "ν": r"$\nu$",
    "π": r"$\pi$", "ρ": r"$\rho$", "σ": r"$\sigma$", "τ": r"$\tau$", "φ": r"$\varphi$", "ω": r"$\omega$",
    "∗": "*", "✓": r"\checkmark{}", "§": r"\S{}",
    "Δ": r"$\Delta$", "Σ": r"$\Sigma$", "Ω": r"$\Omega$",
    # Signatures are long words: they may break behind a field.
    "|": r"$|$\allowbreak{}",
}  # fmt: skip

_LATIN = frozenset(
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿĀāĂăĆćČčĎďĒēĚěĞğĪīıŁłŃńŇňŌōŐőŒœŘřŚśŞşŠšŤťŪūŮůŰűŹźŻżŽž"
)
"""Letters that LaTeX knows in its default encoding, with every engine."""


KNOWN = _LATIN | set(_SIGNS) | {chr(code) for code in range(0x20, 0x7F)}
"""Signs that every engine prints as themselves."""


def tex(text: str) -> str:
    """Text with every sign that LaTeX reads as a command escaped, and every other as itself or as its number."""
    signs = unicodedata.normalize("NFC", printable(text))
    # Two hyphens in a row would be set as a dash.
    return "".join(
        ("{}" if last == sign == "-" else "") + _sign(sign) for last, sign in zip(" " + signs, signs, strict=False)
    )


_LONG = 30
"""Letters of a word that must be able to break, such as an address, a path or a hash."""
_RUN = 16
"""Letters and digits in a row after which such a word may break in any case."""


def tex_note(text: str) -> str:
    """`tex` for sentences in a narrow column: long words may break behind their signs, and within long runs."""
    return "".join(_breakable(word) if len(word) > _LONG else tex(word) for word in re.split(r"(\s+)", text))


def tex_broken(text: str) -> str:
    """`tex` for names in a very narrow column: every word may break."""
    return "".join(_breakable(word, 8) if len(word) > 8 else tex(word) for word in re.split(r"(\s+)", printable(text)))


def _breakable(word: str, run: int = _RUN) -> str:
    pieces = re.findall(rf"\w{{1,{run}}}|\W", word)
    return "".join(
        tex(piece) + (r"\allowbreak{}" if not piece.isalnum() or len(piece) == run else "") for piece in pieces
    )


def tex_value(text: str) -> str:
    """`tex` for numbers, whose hyphens are minus signs."""
    return re.sub(r"(?<![\w.])-(?=[\d.i])", "$-$", tex(text))


def _sign(sign: str) -> str:
    if sign in _SIGNS:
        return _SIGNS[sign]
    if " " <= sign <= "~" or sign in _LATIN:
        return sign
    return rf"{FALLBACK} {sign}\else\texttt{{U+{ord(sign):04X}}}\fi{{}}"
