# Reads paths of cgroups, one a line, then what the engine knows of each container, a line of JSON. Prints metrics.
# awk is the one of busybox or mawk, which know no {64} in a pattern.

# the value of "key":"…" in this line; quotes within values are \", so that no value can look like another key
function text(key) {
  return match($0, "\"" key "\":\"[^\"]*\"") ? substr($0, RSTART + length(key) + 4, RLENGTH - length(key) - 5) : ""
}

# the first line of a file; empty where there is none
function content(file, line) {
  line = ""
  getline line < file
  close(file)
  return line
}

# the number behind a word at the start of a line
function entry(file, word, line, parts, found) {
  found = ""
  while ((getline line < file) > 0)
    if (split(line, parts, " ") == 2 && parts[1] == word) found = parts[2]
  close(file)
  return found
}

function sample(name, value) {
  return "macula_container_" name labels " " value "\n"
}

/^\// {
  id = $0
  sub(/\.scope$/, "", id)
  id = substr(id, length(id) - 63)
  if ($0 ~ /\/cgroup\/cpuacct\//) cpuacct[id] = $0
  else if ($0 ~ /\/cgroup\/memory\//) memory[id] = $0
  else unified[id] = $0
  next
}

{
  id = text("ID")
  container = substr(text("Name"), 2)
  service = text("com.docker.compose.service")
  # the engine keeps "Name" of volumes, too; a container's begins with a slash
  if (match($0, /"Name":"\/[^"]*"/)) container = substr($0, RSTART + 9, RLENGTH - 10)
  labels = "{service=\"" (service == "" ? container : service) "\",container=\"" container "\"}"
  if (match($0, /"RestartCount":[0-9]+/)) restarts = restarts sample("restarts", substr($0, RSTART + 15, RLENGTH - 15))

  seconds = used = ""
  if (id in unified) {
    seconds = entry(unified[id] "/cpu.stat", "usage_usec")
    if (seconds != "") seconds = sprintf("%.6f", seconds / 1e6)
    used = content(unified[id] "/memory.current")
    cache = entry(unified[id] "/memory.stat", "inactive_file")
  } else {
    if (id in cpuacct) seconds = content(cpuacct[id] "/cpuacct.usage")
    if (seconds != "") seconds = sprintf("%.6f", seconds / 1e9)
    if (id in memory) {
      used = content(memory[id] "/memory.usage_in_bytes")
      cache = entry(memory[id] "/memory.stat", "total_inactive_file")
    }
  }
  if (seconds != "") cpu = cpu sample("cpu_seconds_total", seconds)
  if (used != "") bytes = bytes sample("memory_bytes", sprintf("%.0f", used > cache ? used - cache : 0))
}

END {
  print "# HELP macula_container_cpu_seconds_total Processor time that a container has used."
  print "# TYPE macula_container_cpu_seconds_total counter"
  printf "%s", cpu
  print "# HELP macula_container_memory_bytes Memory of a container, without files that are cached and can be dropped."
  print "# TYPE macula_container_memory_bytes gauge"
  printf "%s", bytes
  print "# HELP macula_container_restarts How often the engine has started a container again since somebody started it."
  print "# TYPE macula_container_restarts gauge"
  printf "%s", restarts
}
