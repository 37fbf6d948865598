#!/usr/bin/env bash
# jobs/packages.sh [PACKAGE …]: installs what is needed to build fedmpi, and the packages named, as far as missing.
set -euo pipefail

packages=(g++ make cmake libopenmpi-dev openmpi-bin libeigen3-dev libhdf5-dev libboost-program-options-dev
  libfmt-dev nlohmann-json3-dev libssl-dev zlib1g-dev "$@")

if ! command -v dpkg-query >/dev/null; then
  echo "This is no Debian or Ubuntu: taking it that what corresponds to ${packages[*]} is here."
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == "install ok installed" ]] || missing+=("$package")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

as_root=()
if [[ $EUID -ne 0 ]]; then
  if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || sudo -v; }; then
    as_root=(sudo)
  else
    echo "These packages are missing: ${missing[*]}" >&2
    echo "Ask your administrator for: apt-get install ${missing[*]}" >&2
    exit 2
  fi
fi

echo "Installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
