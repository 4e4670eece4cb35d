/** Prints the version; running it through `with-bun.sh` installs everything on the way. */
import manifest from '../package.json' with { type: 'json' };

process.stdout.write(`${manifest.name} ${manifest.version}, Bun ${Bun.version}\n`);
