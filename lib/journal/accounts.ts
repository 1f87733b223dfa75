import type { Privilege } from '../system/privilege.ts'

/** Below it, one folder per installation of packages; readable by root alone, as /etc/shadow is. */
const parent = '/var/lib/macula'

/** Where the account files of before and after an installation are kept; `id` is that of its record. */
export function accountsFolder(id: string): string {
  return `${parent}/accounts-${id}`
}

// with the copies that the tools of these files keep of them
const files = 'passwd passwd- shadow shadow- group group- gshadow gshadow- subuid subuid- subgid subgid-'

const copyScript = `set -eu
umask 077
rm -rf "$1.new"
mkdir -p "$1.new"
for file in ${files}; do
  [ ! -e "/etc/$file" ] || cp -p "/etc/$file" "$1.new/$file"
done
rm -rf "$1"
mv "$1.new" "$1"`

/** Keeps the account files as they are now; packages add users that no package manager removes again. */
export async function saveAccounts(folder: string, { $ }: Privilege): Promise<void> {
  await $`sh -c ${copyScript} save ${folder}`
}

/** Keeps them as the packages left them, to tell later what somebody else has changed since. */
export async function saveAccountsAfter(folder: string, { $ }: Privilege): Promise<void> {
  await $`sh -c ${copyScript} save ${`${folder}/after`}`
}

// A line is foreign that was neither there before nor made by the packages; so is the lack of one that both had. An installation that was broken
// off has no `after`: then what is called like one of the packages is theirs (dnsmasq-base makes the user dnsmasq).
const restoreScript = `set -eu
umask 077
folder=$1
shift
[ -d "$folder" ] || { rm -rf "$folder.new"; rmdir ${parent} 2>/dev/null || true; echo unchanged; exit; }
after=$folder/after
if [ ! -d "$after" ]; then
  mkdir -p "$after"
  for file in passwd shadow group gshadow subuid subgid; do
    [ -e "/etc/$file" ] || continue
    old=$folder/$file
    [ -e "$old" ] || old=/dev/null
    awk -F: -v packages="$*" '
      function begins(long, short) {
        return index(long, short) == 1 && substr(long, length(short) + 1, 1) !~ /[a-z0-9]/
      }
      function own(name, i, names, count) {
        count = split(packages, names, " ")
        for (i = 1; i <= count; i++) if (begins(names[i], name) || begins(name, names[i])) return 1
        return 0
      }
      which == "before" { print; next }
      own($1)' which=before "$old" which=now "/etc/$file" >"$after/$file"
  done
fi
# prints the names that came with the packages and are still there; 3 for a file that somebody else has changed
compare() {
  for path in "$folder/$1" "$after/$1" "/etc/$1"; do
    if [ -e "$path" ]; then set -- "$@" "$path"; else set -- "$@" /dev/null; fi
  done
  awk -F: '
    which == "before" { before[$0] = 1; known[$1] = 1; next }
    which == "after" { after[$0] = 1; if (!($1 in known)) ours[$1] = 1; next }
    { now[$0] = 1; if (!($0 in before) && !($0 in after)) foreign = 1; if ($1 in ours) print $1 }
    END {
      for (line in before) if ((line in after) && !(line in now)) foreign = 1
      exit foreign ? 3 : 0
    }' which=before "$2" which=after "$3" which=now "$4"
}
state=ours users= groups=
for file in passwd shadow group gshadow subuid subgid; do
  names=$(compare "$file") || state=foreign
  case $file in passwd) users=$names ;; group) groups=$names ;; esac
done
outcome=unchanged
if [ "$state" = ours ]; then
  for file in ${files}; do
    rm -f "/etc/.$file.macula-"*
    if [ ! -e "$folder/$file" ]; then
      [ ! -e "/etc/$file" ] || { rm -f "/etc/$file"; outcome=restored; }
    elif ! cmp -s "$folder/$file" "/etc/$file"; then
      temporary=$(mktemp "/etc/.$file.macula-$$-XXXXXXXX")
      cp -p "$folder/$file" "$temporary"
      mv -f "$temporary" "/etc/$file"
      outcome=restored
    fi
  done
else
  remove() { if command -v "$1" >/dev/null 2>&1; then "$1" "$3" >&2; else "$2" "$3" >&2; fi; }
  for user in $users; do remove userdel deluser "$user"; outcome=part; done
  # a user's own group goes with it
  for group in $groups; do
    ! grep -q "^$group:" /etc/group || { remove groupdel delgroup "$group"; outcome=part; }
  done
fi
rm -rf "$folder"
rmdir ${parent} 2>/dev/null || true
echo $outcome`

/**
 * Puts the account files back, byte for byte, when the packages are gone: `restored`. Where somebody else has changed accounts since, only the
 * users and groups that came with the packages go: `part`.
 */
export async function restoreAccounts(
  folder: string,
  packages: readonly string[],
  { $ }: Privilege,
): Promise<'unchanged' | 'restored' | 'part'> {
  const said = await $`sh -c ${restoreScript} restore ${folder} ${packages}`.text()
  return said.trim() as 'unchanged' | 'restored' | 'part'
}
