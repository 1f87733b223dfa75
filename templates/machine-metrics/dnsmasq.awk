# Reads the answers of a DNS server, each after its length, as numbers of bytes, and writes what dnsmasq counts. Nothing where the first answer,
# the version of the platform's configuration, has no record: that is some other server. With `nobody` it writes that none answers.

function metric(name, help) { print "# HELP dnsmasq_" name " " help "\n# TYPE dnsmasq_" name " gauge" }
function count(name, help) {
  if (!found[name ".bind"]) return
  metric(name, help)
  print "dnsmasq_" name, text[name ".bind", 1] + 0
}

# each server is a text: address, questions, failures
function server_count(name, column, help,    i, part) {
  if (!found["servers.bind"]) return
  metric(name, help)
  for (i = 1; i <= found["servers.bind"]; i++) {
    split(text["servers.bind", i], part, " ")
    # whoever listens there instead, it is a label
    gsub(/[^0-9A-Za-z.:%#-]/, "", part[1])
    print "dnsmasq_" name "{server=\"" part[1] "\"}", part[column] + 0
  }
}

function number(at) { return byte[at] * 256 + byte[at + 1] }

function characters(at, length_,    i, said) {
  for (i = 0; i < length_; i++) said = said sprintf("%c", byte[at + i])
  return said
}

# where the name that begins there ends; `name` is what it says
function past(at) {
  for (name = ""; byte[at] > 0 && byte[at] < 192; at += byte[at] + 1)
    name = name (name == "" ? "" : ".") characters(at + 1, byte[at])
  # two bytes that point at an earlier name, or the end
  return at + (byte[at] >= 192 ? 2 : 1)
}

{ for (field = 1; field <= NF; field++) byte[++size] = $field }

END {
  for (start = 3; start + 12 <= size; start += number(start - 2) + 2) {
    at = past(start + 12) + 4
    question = name
    if (start == 3) first = question
    if (number(start + 6) == 0) continue
    # behind type, class and time to live
    at = past(at) + 8
    end = at + 2 + number(at)
    for (at += 2; at < end; at += byte[at] + 1) text[question, ++found[question]] = characters(at + 1, byte[at])
  }
  if (!found[first] && !nobody) exit

  metric("up", "Whether the dnsmasq of the platform answers on this machine.")
  print "dnsmasq_up", found[first] ? 1 : 0
  if (!found[first]) exit
  count("hits", "Questions that it answered by itself: names of the platform, and what it had in its cache.")
  count("misses", "Questions that it sent on.")
  count("cachesize", "Names that its cache has room for.")
  count("insertions", "Names that were put into its cache.")
  count("evictions", "Names that left its cache before their time, because it was full.")
  server_count("servers_queries", 2, "Questions sent on, by the server they were sent to.")
  server_count("servers_queries_failed", 3, "Those of them that the server did not answer, or refused.")
}
