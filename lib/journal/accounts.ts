import type { Privilege } from '../system/privilege.ts'

/** Below it, one folder per installation of packages; readable by root alone, as /etc/shadow is. */
const parent = '/var/lib/macula'

/** Where the account files of before an installation are kept. */
export function accountsFolder(id: string): string {
  return `${parent}/accounts-${id}`
}

// with the copies that the tools of these files keep of them
const files = 'passwd passwd- shadow shadow- group group- gshadow gshadow- subuid subuid- subgid subgid-'

const saveScript = `set -eu
umask 077
mkdir -p "$1.new"
for file in ${files}; do
  [ ! -e "/etc/$file" ] || cp -p "/etc/$file" "$1.new/$file"
done
mv "$1.new" "$1"`

// Tells whether the files differ from those of before by nothing but lines for users and groups that are called like one of the packages:
// dnsmasq-base makes the user dnsmasq. Only then are they put back; beside other changes, just those users go.
const restoreScript = `set -eu
folder=$1
shift
[ -d "$folder" ] || { rm -rf "$folder.new"; rmdir ${parent} 2>/dev/null || true; echo unchanged; exit; }
added() {
  awk -F: -v packages="$*" '
    FILENAME == ARGV[1] { before[$0] = 1; count += 1; next }
    $0 in before { found += 1; next }
    {
      own = 0
      split(packages, names, " ")
      for (i in names) own = own || (index(names[i], $1) == 1 && substr(names[i], length($1) + 1, 1) !~ /[a-z0-9]/)
      if (own) print $1; else foreign = 1
    }
    END { exit (foreign || found < count) ? 3 : 0 }' "$old" "/etc/$file"
}
state=ours users=
for file in passwd shadow group gshadow subuid subgid; do
  [ -e "/etc/$file" ] || continue
  old=$folder/$file
  [ -e "$old" ] || old=/dev/null
  new=$(added "$@") || state=foreign
  [ "$file" != passwd ] || users=$new
done
if [ "$state" = ours ]; then
  outcome=unchanged
  for file in ${files}; do
    if [ ! -e "$folder/$file" ]; then
      [ ! -e "/etc/$file" ] || { rm -f "/etc/$file"; outcome=restored; }
    elif ! cmp -s "$folder/$file" "/etc/$file"; then
      cp -p "$folder/$file" "/etc/$file.macula-new"
      mv -f "/etc/$file.macula-new" "/etc/$file"
      outcome=restored
    fi
  done
  echo $outcome
else
  for user in $users; do userdel "$user" >&2; done
  [ -n "$users" ] && echo part || echo unchanged
fi
rm -rf "$folder"
rmdir ${parent} 2>/dev/null || true`

/** Keeps the account files as they are now; packages add users that no package manager takes away again. */
export async function saveAccounts(folder: string, privilege: Privilege): Promise<void> {
  await privilege.run(['sh', '-c', saveScript, 'save', folder])
}

/**
 * Puts the account files back, byte for byte, when the packages are gone: `restored`. Where somebody else has changed accounts since, only the
 * users that came with the packages go: `part`.
 */
export async function restoreAccounts(
  folder: string,
  packages: readonly string[],
  privilege: Privilege,
): Promise<'unchanged' | 'restored' | 'part'> {
  const { stdout } = await privilege.run(['sh', '-c', restoreScript, 'restore', folder, ...packages])
  return stdout.trim() as 'unchanged' | 'restored' | 'part'
}
