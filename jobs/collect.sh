#!/usr/bin/env bash
# jobs/collect.sh FOLDER: a line per run of a sweep in FOLDER/sweep.csv: its options, its exit code, and of history.csv
# the rounds, the newest of each measure, and the seconds. A run that is waiting or running has its options only.
set -euo pipefail
[[ $# == 1 ]] || { echo "usage: jobs/collect.sh FOLDER" >&2; exit 2; }
folder=$1
[[ -d $folder ]] || { echo "collect.sh: expected the folder of a sweep, found none at $folder" >&2; exit 2; }
table=$folder/sweep.csv

rows() {
  # shellcheck disable=SC2016  # these dollars are awk's
  printf '%s\n' "$folder"/*/options | sed 's|/options$||' | sort -V | xargs -d '\n' awk '
    function first_line(file,   line) {
      line = ""
      getline line < file
      close(file)
      return line
    }
    BEGIN {
      print "task,options,exit,round,train_loss,test_loss,test_metric,seconds"
      for (i = 1; i < ARGC; ++i) {
        run = task = ARGV[i]
        sub(".*/", "", task)
        ended = first_line(run "/exit")
        split("", newest)
        seconds = 0
        file = run "/history.csv"
        for (n = 0; ended != "" && (getline line < file) > 0; ++n) {
          columns = split(line, value, ",")
          for (c = 1; c <= columns; ++c) {
            if (n == 0) name[c] = value[c]
            else if (value[c] != "") newest[name[c]] = value[c]
            if (n > 0 && name[c] == "seconds") seconds += value[c]
          }
        }
        close(file)
        metric = newest["test_accuracy"] newest["test_rmse"]  # one of them is there
        options = first_line(run "/options")
        gsub(/"/, "\"\"", options)
        printf "%s,\"%s\",%s,%s,%s,%s,%s,%s\n", task, options, ended, newest["round"],
          newest["train_loss"], newest["test_loss"], metric, ended == "" ? "" : seconds
      }
    }'
}

# Tasks may end at the same moment: whoever renames last looks once more whether the table has them all.
until [[ -f $table && $(<"$table") == "$(rows)" ]]; do
  rows >"$table.$HOSTNAME.$$"
  mv "$table.$HOSTNAME.$$" "$table"
done
