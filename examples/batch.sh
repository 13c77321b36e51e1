#!/usr/bin/env bash
# One video per row of a CSV file: name,ref,text,seed (the first line names the columns).
#
#   examples/batch.sh [jobs.csv] [out-folder] [more options of omnitalk generate ...]
#
# Fields may be quoted as in RFC 4180 (commas, "" for a quote, line breaks). Paths in `ref` count
# from the CSV's folder. Videos that exist are skipped, so a stopped run goes on where it was; a row
# that fails does not stop the others. Exit code: 0 all done, 1 some failed, 2 wrong usage, 130 stopped.
# OMNITALK names the program when it is not on PATH. Works with bash 3.2 and later.
set -u

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
csv=${1:-$here/jobs.csv}
out=${2:-out}
if [ $# -ge 2 ]; then shift 2; else shift $#; fi
omnitalk=${OMNITALK:-omnitalk}
if ! command -v "$omnitalk" >/dev/null 2>&1 && [ -x "$here/../.venv/bin/omnitalk" ]; then
  omnitalk=$here/../.venv/bin/omnitalk
fi
command -v "$omnitalk" >/dev/null 2>&1 || { echo "batch.sh: no $omnitalk on PATH; set OMNITALK" >&2; exit 2; }
[ -r "$csv" ] || { echo "batch.sh: cannot read $csv" >&2; exit 2; }
base=$(cd "$(dirname "$csv")" && pwd)
mkdir -p -- "$out" || exit 2

fields=()
# Reads one record from file descriptor 3 into `fields`; status 1 at the end of the file.
read_record() {
  local record line rest marks
  IFS= read -r record <&3 || [ -n "$record" ] || return 1
  while marks=${record//[!\"]/}; [ $(( ${#marks} % 2 )) -eq 1 ]; do # a quote is open: the record goes on
    IFS= read -r line <&3 || [ -n "$line" ] || break
    record=$record$'\n'$line
  done
  record=${record%$'\r'}
  fields=()
  while :; do
    if [ "${record:0:1}" = '"' ]; then
      local value=
      record=${record:1}
      while :; do
        value=$value${record%%\"*}
        case $record in *\"*) rest=${record#*\"} ;; *) rest= ;; esac
        [ "${rest:0:1}" = '"' ] || break
        value=$value'"'
        record=${rest:1}
      done
      fields+=("$value")
      record=$rest
      case $record in *,*) record=${record#*,} ;; *) break ;; esac
    else
      fields+=("${record%%,*}")
      case $record in *,*) record=${record#*,} ;; *) break ;; esac
    fi
  done
}

exec 3<"$csv"
read_record || { echo "batch.sh: $csv is empty" >&2; exit 2; }
fields[0]=${fields[0]#$'\xef\xbb\xbf'} # the byte order mark that spreadsheets write
name_at=-1 ref_at=-1 text_at=-1 seed_at=-1
for i in "${!fields[@]}"; do
  case ${fields[$i]} in
    name) name_at=$i ;; ref) ref_at=$i ;; text) text_at=$i ;; seed) seed_at=$i ;;
  esac
done
if [ "$name_at" -lt 0 ] || [ "$ref_at" -lt 0 ] || [ "$text_at" -lt 0 ]; then
  echo "batch.sh: $csv needs the columns name, ref and text" >&2
  exit 2
fi

trap 'echo "batch.sh: stopped" >&2; exit 130' INT TERM
done_count=0 skipped=0 failed=0
while read_record; do
  [ ${#fields[@]} -eq 1 ] && [ -z "${fields[0]}" ] && continue # an empty line
  name=${fields[$name_at]:-} ref=${fields[$ref_at]:-} text=${fields[$text_at]:-} seed=
  [ "$seed_at" -ge 0 ] && seed=${fields[$seed_at]:-}
  case $name in
    '' | . | .. | */*) echo "batch.sh: bad name '$name': a file name without / is needed" >&2
      failed=$((failed + 1)); continue ;;
  esac
  case $ref in /*) ;; *) ref=$base/$ref ;; esac
  target=$out/$name.mp4
  if [ -e "$target" ]; then
    echo "skip $target (exists)" >&2
    skipped=$((skipped + 1))
    continue
  fi
  if "$omnitalk" generate --ref "$ref" --say "$text" --output "$target" \
    ${seed:+--seed "$seed"} "$@" 3<&- </dev/null; then
    done_count=$((done_count + 1))
  else
    code=$?
    [ "$code" -eq 130 ] && exit 130
    echo "batch.sh: $name failed with exit code $code" >&2
    failed=$((failed + 1))
  fi
done
echo "batch.sh: $done_count made, $skipped skipped, $failed failed" >&2
[ "$failed" -eq 0 ]
