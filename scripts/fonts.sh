#!/bin/sh
# Installs free fonts that dptr renders training crops with (Debian and Ubuntu; about 125 MB to fetch, 330 MB on disk).
# All packages are from Debian's main section, so under free licenses; each one's license is in /usr/share/doc/PACKAGE/copyright.
# Packages that the running release does not have are named and passed over.
#
# Usage: scripts/fonts.sh          everything
#        scripts/fonts.sh latin    only the fonts for Latin letters
set -eu

latin="
fonts-adf-accanthis fonts-adf-baskervald fonts-adf-berenis fonts-adf-gillius fonts-adf-ikarius fonts-adf-irianis
fonts-adf-libris fonts-adf-mekanus fonts-adf-oldania fonts-adf-romande fonts-adf-switzera fonts-adf-tribun
fonts-adf-universalis fonts-adf-verana fonts-anonymous-pro fonts-bebas-neue fonts-breip fonts-cantarell
fonts-comic-neue fonts-crosextra-caladea fonts-crosextra-carlito fonts-dancingscript fonts-dejavu-core
fonts-dejavu-extra fonts-dustin fonts-ebgaramond fonts-ecolier-court fonts-engadget fonts-essays1743 fonts-firacode
fonts-freefont-ttf fonts-georgewilliams fonts-gfs-didot fonts-goudybookletter fonts-hack fonts-humor-sans
fonts-inconsolata fonts-isabella fonts-junicode fonts-jura fonts-kristi fonts-lato fonts-levien-typoscript
fonts-liberation2 fonts-linuxlibertine fonts-lobster fonts-lobstertwo fonts-lyx fonts-ocr-a fonts-open-sans
fonts-paratype fonts-play fonts-prociono fonts-quicksand fonts-roboto-slab fonts-roboto-unhinted fonts-rufscript
fonts-sil-gentium fonts-sora fonts-summersby fonts-urw-base35 fonts-yanone-kaffeesatz
"
# Cyrillic, Greek, Arabic, Persian, Hebrew, Devanagari, Bengali, Tamil, Thai, Chinese, Japanese, Korean
world="
fonts-noto-core fonts-noto-cjk fonts-droid-fallback fonts-hosny-amiri fonts-kacst fonts-farsiweb fonts-beng-extra
fonts-deva-extra fonts-lohit-beng-bengali fonts-lohit-deva fonts-thai-tlwg fonts-wqy-microhei fonts-arphic-ukai
fonts-nanum
"

case "${1:-all}" in
    all) wanted="$latin $world" ;;
    latin) wanted="$latin" ;;
    *) echo "fonts.sh: unknown argument '$1'; pass nothing, or 'latin'" >&2; exit 2 ;;
esac
if ! command -v apt-get >/dev/null; then
    echo "fonts.sh: no apt-get here; install fonts by hand and pass --set 'render.fonts=[\"FOLDER\"]'" >&2
    exit 2
fi
as_root=
if [ "$(id -u)" -ne 0 ]; then as_root=sudo; fi

$as_root apt-get update
found=
for package in $wanted; do
    if apt-cache show "$package" >/dev/null 2>&1; then
        found="$found $package"
    else
        echo "fonts.sh: this release has no package $package; passed over" >&2
    fi
done
# shellcheck disable=SC2086 # a list of packages
$as_root apt-get install --yes --no-install-recommends $found
