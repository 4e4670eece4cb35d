/** Holds the house: what style and layout ask for and a machine can check. */
import { describe, expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';

const root = join(import.meta.dir, '..');
const LINES_MAX = 400;

/** Libs that any other lib may use, and what single ones may use beyond them. */
const COMMON_LIBS = ['pipeline', 'models', 'monitoring'];
const SPECIAL_LIBS: Readonly<Record<string, readonly string[]>> = {
  delivery: ['journal'],
  'elysia-server': ['auth'],
};

/** Libs for tests, integrity, bench and scripts: what runs in production never imports them. */
const TEST_LIBS = ['services'];

interface SourceFile {
  readonly path: string;
  readonly text: string;
}

interface Manifest {
  readonly name?: string;
  readonly description?: string;
  readonly private?: boolean;
  readonly type?: string;
  readonly exports?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly workspaces?: { readonly catalog: Readonly<Record<string, string>> };
}

interface Package {
  /** Relative to the repository, such as `libs/journal`. */
  readonly folder: string;
  readonly kind: 'apps' | 'libs' | 'other';
  readonly manifest: Manifest;
  readonly files: readonly SourceFile[];
}

const IGNORED = /(^|\/)(node_modules|\.git|data|results|coverage)(\/|$)/;

function listFiles(pattern: string): string[] {
  const glob = new Bun.Glob(pattern);
  return [...glob.scanSync({ cwd: root, dot: true })].filter((path) => !IGNORED.test(path)).toSorted();
}

const readText = (path: string) => readFileSync(join(root, path), 'utf8');
const readManifest = (path: string): Manifest => JSON.parse(readText(path));

const sources: readonly SourceFile[] = listFiles('{apps,libs,bench,integrity,scripts}/**/*.ts').map((path) => ({
  path,
  text: readText(path),
}));
const texts: readonly SourceFile[] = [
  ...sources,
  ...listFiles('**/*.{md,json,sh,yml,yaml,toml,html}').map((path) => ({ path, text: readText(path) })),
  ...['Dockerfile', '.ci/run']
    .filter((path) => existsSync(join(root, path)))
    .map((path) => ({ path, text: readText(path) })),
];
const manifests = ['apps/*', 'libs/*', 'bench', 'integrity'].flatMap((folder) => listFiles(`${folder}/package.json`));
const packages: readonly Package[] = manifests.map((path) => {
  const folder = dirname(path);
  const [top] = folder.split('/');
  return {
    folder,
    kind: top === 'apps' || top === 'libs' ? top : 'other',
    manifest: readManifest(path),
    files: sources.filter((file) => file.path.startsWith(`${folder}/`)),
  };
});
const libs = packages.filter(({ kind }) => kind === 'libs');

/** Tests, and what stands beside tests to help them. */
const isTest = (path: string) => /\.test\.ts$|\/(test|testing|docs)\//.test(path);

function importsOf(text: string): string[] {
  const found = text.matchAll(
    /(?:^|\n)\s*(?:import|export)\b[^;'"`]*?\bfrom\s*['"]([^'"]+)['"]|(?:^|\n)\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/g,
  );
  return [...found].map(([, named, bare, dynamic]) => named ?? bare ?? dynamic ?? '');
}

/** `@scope/name/deep` → `@scope/name`. */
const packageOf = (specifier: string) =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
const isBuiltIn = (specifier: string) => /^(node:|bun$|bun:)/.test(specifier);
const isRelative = (specifier: string) => specifier.startsWith('.');

/** One line a violation, so that a failure names every one of them. */
function expectNone(violations: readonly string[]): void {
  expect(violations).toEqual([]);
}

function mayUse({ kind, folder }: Package, dependency: string): boolean {
  const [scope, name = ''] = dependency.split('/');
  if (scope === '@apps') return false;
  if (scope !== '@libs' || kind !== 'libs') return true;
  const self = basename(folder);
  if (TEST_LIBS.includes(name)) return true;
  if (self === 'pipeline') return false;
  return COMMON_LIBS.includes(name) || SPECIAL_LIBS[self]?.includes(name) === true;
}

function linesMatching(files: readonly SourceFile[], pattern: RegExp): string[] {
  return files.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
  );
}

// This file holds the very words it looks for.
const others = (files: readonly SourceFile[]) => files.filter(({ path }) => path !== 'scripts/tidy.test.ts');

describe('dependencies point one way', () => {
  test('there is something to check', () => {
    expect(packages.map(({ folder }) => folder)).toEqual(
      expect.arrayContaining(['apps/weir', 'libs/pipeline', 'bench']),
    );
    expect(sources.length).toBeGreaterThan(50);
  });

  test('apps use libs, libs use what they may, nobody uses an app', () => {
    expectNone(
      packages.flatMap((one) => {
        const declared = Object.keys({ ...one.manifest.dependencies, ...one.manifest.devDependencies });
        const imported = one.files.flatMap(({ text }) => importsOf(text).map(packageOf));
        const used = [...new Set([...declared, ...imported])].filter((name) => name !== one.manifest.name);
        return used.filter((name) => !mayUse(one, name)).map((name) => `${one.folder} may not use ${name}`);
      }),
    );
  });

  test('what tests alone need stays in tests', () => {
    const testLibs = TEST_LIBS.map((name) => `@libs/${name}`);
    expectNone(
      packages
        .filter(({ kind }) => kind !== 'other')
        .flatMap(({ folder, manifest, files }) => [
          ...testLibs
            .filter((name) => manifest.dependencies?.[name] !== undefined)
            .map((name) => `${folder}: ${name} belongs to devDependencies`),
          ...files
            .filter(
              ({ path, text }) =>
                !isTest(path) &&
                importsOf(text)
                  .map(packageOf)
                  .some((name) => testLibs.includes(name)),
            )
            .map(({ path }) => path),
        ]),
    );
  });

  test('no circle among the libs', () => {
    const uses = new Map(libs.map(({ manifest }) => [manifest.name, Object.keys(manifest.dependencies ?? {})]));
    const reaches = (from: string, goal: string, seen: Set<string>): boolean =>
      (uses.get(from) ?? []).some((next) => {
        if (next === goal) return true;
        if (seen.has(next)) return false;
        seen.add(next);
        return reaches(next, goal, seen);
      });
    expectNone([...uses.keys()].filter((name) => reaches(name ?? '', name ?? '', new Set())).map(String));
  });

  test('pipeline imports no technology', () => {
    const pipeline = libs.find(({ folder }) => folder === 'libs/pipeline');
    const files = (pipeline?.files ?? []).filter(({ path }) => !isTest(path));
    expectNone(
      files.flatMap(({ path, text }) =>
        importsOf(text)
          .filter((name) => !isRelative(name))
          .map((name) => `${path}: ${name}`),
      ),
    );
  });

  test('relative imports stay in their package and name their file with its ending', () => {
    expectNone(
      packages.flatMap(({ folder, files }) =>
        files.flatMap(({ path, text }) =>
          importsOf(text)
            .filter(isRelative)
            .filter((name) => {
              const target = relative(root, resolve(root, dirname(path), name));
              const isOutside = !target.startsWith(`${folder}/`) && target !== 'package.json';
              return isOutside || !/\.(ts|json)$/.test(name);
            })
            .map((name) => `${path}: ${name}`),
        ),
      ),
    );
  });

  test('packages are entered by what they export', () => {
    const exported = new Set(
      libs.flatMap(({ manifest }) =>
        Object.keys(manifest.exports ?? {}).map((name) => `${manifest.name}${name.slice(1)}`),
      ),
    );
    const inner = /^@(libs|apps)\//;
    expectNone(
      sources.flatMap(({ path, text }) =>
        importsOf(text)
          .filter((name) => inner.test(name) && !exported.has(name))
          .map((name) => `${path}: ${name}`),
      ),
    );
  });

  test('what is imported is declared, and what is declared is used', () => {
    expectNone(
      packages.flatMap(({ folder, manifest, files }) => {
        const run = new Set(Object.keys(manifest.dependencies ?? {}));
        const development = new Set(Object.keys(manifest.devDependencies ?? {}));
        const outer = (name: string) => !isRelative(name) && !isBuiltIn(name);
        const undeclared = files.flatMap(({ path, text }) =>
          importsOf(text)
            .filter(outer)
            .map(packageOf)
            .filter((name) => name !== manifest.name && !run.has(name) && !(isTest(path) && development.has(name)))
            .map((name) => `${path}: ${name} is not declared`),
        );
        const code = files.map(({ text }) => text).join('\n');
        const unused = [...run, ...development].filter(
          (name) => !new RegExp(`['"\`]${RegExp.escape(name)}['"\`/]`).test(code) && !name.startsWith('@types/'),
        );
        return [...undeclared, ...unused.map((name) => `${folder}: ${name} is declared and not used`)];
      }),
    );
  });
});

describe('packages', () => {
  test('each says what lives in it, and is named after its folder', () => {
    expectNone(
      packages.flatMap(({ folder, kind, manifest }) => {
        const problems: string[] = [];
        if ((manifest.description ?? '').length < 10) problems.push('no description');
        if (manifest.private !== true || manifest.type !== 'module') problems.push('must be private and a module');
        if (kind !== 'other' && manifest.name !== `@${folder}`) problems.push(`is named ${manifest.name}`);
        if (kind === 'libs' && manifest.exports?.['.'] !== './src/index.ts') problems.push('"." must be src/index.ts');
        return problems.map((problem) => `${folder}: ${problem}`);
      }),
    );
  });

  test('versions are exact and stand in one place', () => {
    const manifest = readManifest('package.json');
    const catalog = manifest.workspaces?.catalog ?? {};
    const exact = /^\d+\.\d+\.\d+(-[\w.]+)?$/;
    const loose = Object.entries({ ...catalog, ...manifest.devDependencies }).filter(
      ([, version]) => !exact.test(version),
    );
    const elsewhere = packages.flatMap((one) =>
      Object.entries({ ...one.manifest.dependencies, ...one.manifest.devDependencies })
        .filter(([name, version]) => version !== (/^@(libs|apps)\//.test(name) ? 'workspace:*' : 'catalog:'))
        .map(([name, version]) => `${one.folder}: ${name} ${version}`),
    );
    const used = new Set(
      packages.flatMap((one) => Object.keys({ ...one.manifest.dependencies, ...one.manifest.devDependencies })),
    );
    const unused = Object.keys(catalog).filter((name) => !used.has(name));
    expectNone([
      ...loose.map(([name, version]) => `${name} ${version}`),
      ...elsewhere,
      ...unused.map((name) => `${name} is unused`),
    ]);
  });

  test('one lockfile', () => {
    const locks = listFiles('**/{bun.lock,bun.lockb,package-lock.json,npm-shrinkwrap.json,yarn.lock,pnpm-lock.yaml}');
    expect(locks).toEqual(['bun.lock']);
  });

  test('what belongs at the top is there', () => {
    const wanted = [
      ...['README.md', 'LICENSE', 'CHANGELOG.md', 'CONTRIBUTING.md', 'Dockerfile', 'docker-compose.yml', '.ci/run'],
      ...['package.json', 'bun.lock', 'bunfig.toml', 'tsconfig.json', 'biome.json'],
      ...['.editorconfig', '.gitattributes', '.gitignore'],
    ];
    expectNone(wanted.filter((path) => !existsSync(join(root, path))));
  });
});

describe('files', () => {
  test(`none is longer than ${LINES_MAX} lines`, () => {
    const lineCount = (text: string) => text.split('\n').length - 1;
    expectNone(
      sources.filter(({ text }) => lineCount(text) > LINES_MAX).map(({ path, text }) => `${path}: ${lineCount(text)}`),
    );
  });

  test('nobody writes to the console', () => {
    expectNone(linesMatching(others(sources), /\bconsole\.\w+\(/));
  });

  test('no test is left out or alone, and nothing is put off', () => {
    expectNone(linesMatching(others(sources), /\b(test|it|describe)(\.\w+)*\.(only|skip|todo)\b/));
    expectNone(linesMatching(others(texts), /\b(TODO|FIXME|XXX|HACK)\b/));
  });

  test('no paths of one machine, no hosts of a registry', () => {
    expectNone(linesMatching(others(texts), /(^|[\s"'`(=:])\/(work|home|root|Users|mnt)\/\w/));
    expectNone(
      linesMatching(
        [...others(texts), { path: 'bun.lock', text: readText('bun.lock') }],
        /https?:\/\/[\w.-]*(registry|npmmirror|artifactory|nexus)[\w.-]*/,
      ),
    );
  });

  test('only config.ts reads the environment', () => {
    // The supervisor's children inherit what it has: libs/runtime hands it on unread.
    const mayRead = ({ path }: SourceFile) =>
      /^(bench|integrity|scripts)\/|\/config\.ts$|^libs\/runtime\/src\/child\.ts$/.test(path) || isTest(path);
    expectNone(
      linesMatching(
        sources.filter((file) => !mayRead(file)),
        /\b(process|Bun|import\.meta)\.env\b/,
      ),
    );
  });
});

describe('what a lib exports', () => {
  test('its index is its only barrel', () => {
    const barrels = libs.flatMap(({ folder, files }) =>
      files.filter(({ path, text }) => {
        if (path === `${folder}/src/index.ts` || isTest(path)) return false;
        return basename(path) === 'index.ts' || /^export (type )?(\*|\{[^}]*\}) from /m.test(text);
      }),
    );
    const entries = new Set(
      libs.flatMap(({ folder, manifest }) => Object.values(manifest.exports ?? {}).map((path) => join(folder, path))),
    );
    expectNone(barrels.map(({ path }) => path).filter((path) => !entries.has(path)));
  });

  test('is used outside of it, by a test or document, or by what else it exports', () => {
    expectNone(
      libs.flatMap((lib) =>
        exportsOf(lib)
          .filter((name) => !isAlive(lib, name))
          .map((name) => `${lib.folder}: ${name}`),
      ),
    );
  });
});

/** The names that `src/index.ts` exports, those of `export *` included. */
function exportsOf({ folder, files }: Package): string[] {
  const index = files.find(({ path }) => path === `${folder}/src/index.ts`)?.text ?? '';
  const named = [...index.matchAll(/export (?:type )?\{([^}]*)\}/g)].flatMap(([, list = '']) => list.split(','));
  const declared = (text: string) =>
    [
      ...text.matchAll(
        /^export (?:declare )?(?:abstract )?(?:async )?(?:const|let|function\*?|class|interface|type) (\w+)/gm,
      ),
    ].map(([, name = '']) => name);
  const whole = [...index.matchAll(/export \* from '\.\/([^']+)'/g)].flatMap(([, file = '']) =>
    declared(files.find(({ path }) => path === `${folder}/src/${file}`)?.text ?? ''),
  );
  const names = named.map(
    (item) =>
      item
        .replace(/\btype\b/, '')
        .trim()
        .split(/\s+as\s+/)
        .at(-1) ?? '',
  );
  return [...new Set([...names, ...whole, ...declared(index)])].filter((name) => name !== '');
}

function isAlive({ folder, manifest, files }: Package, name: string): boolean {
  const word = new RegExp(`\\b${name}\\b`);
  const outside = sources.some(
    ({ path, text }) =>
      !path.startsWith(`${folder}/`) &&
      importsOf(text).some((one) => packageOf(one) === manifest.name) &&
      word.test(text),
  );
  if (outside || files.some(({ path, text }) => isTest(path) && word.test(text))) return true;
  // A type may be there to name what an exported function takes or gives: then it stands in its declaration.
  const declaration = new RegExp(`^export (?:declare )?(?:interface|type) ${name}\\b`, 'm');
  const inside = files.filter(({ path }) => path !== `${folder}/src/index.ts` && !isTest(path)).map(({ text }) => text);
  const isType = inside.some((text) => declaration.test(text));
  const mentions = inside.join('\n').match(new RegExp(`\\b${name}\\b`, 'g'))?.length ?? 0;
  return isType && mentions > 1;
}
