import { LAYERS, NEVER, OWNERS } from './scripts/layers.mjs';

const test = '\\.(test|bench|contract)\\.ts$';
const testOrTesting = `${test}|/testing/`;
const at = (names) => `^src/(${names.join('|')})/`;

const layerRules = LAYERS.flatMap((row, i) => row.map((name) => ({
  name: `${name}-imports-downward`,
  severity: 'error',
  comment: `src/${name} may import only: ${LAYERS.slice(0, i).flat().join(', ') || 'nothing in src'}`,
  from: { path: `^src/${name}/`, pathNot: testOrTesting },
  to: { path: '^src/', pathNot: at([name, ...LAYERS.slice(0, i).flat()]) },
})));

const neverRules = NEVER.map(([a, b]) => ({
  name: `${a}-never-${b}`, severity: 'error', from: { path: `^src/${a}/`, pathNot: testOrTesting }, to: { path: `^src/${b}/` },
}));

const ownerRules = Object.entries(OWNERS).map(([to, owners]) => ({
  name: `only-${owners.join('-or-')}`,
  severity: 'error',
  comment: `${to} is used only inside: ${owners.join(', ')}`,
  from: { path: '^src/', pathNot: [at(owners), testOrTesting] },
  to: { path: to },
}));

export default {
  forbidden: [
    ...layerRules, ...neverRules, ...ownerRules,
    { name: 'no-cycle', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-orphan', severity: 'error', from: { orphan: true, path: '^src/', pathNot: ['^src/(main|nearkeep)\\.ts$', testOrTesting] }, to: {} },
    { name: 'no-test-in-product', severity: 'error', from: { path: '^src/', pathNot: testOrTesting }, to: { path: `${testOrTesting}|^test/` } },
    { name: 'no-outside-in-product', severity: 'error', from: { path: '^src/' }, to: { path: '^(dashboard|scripts|bench|fuzz|wasm)/' } },
    {
      name: 'no-dev-dep', severity: 'error', from: { path: '^src/', pathNot: testOrTesting },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['type-only'] },
    },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { extensions: ['.ts', '.js', '.mjs', '.json'], exportsFields: ['exports'], conditionNames: ['import', 'require', 'node', 'default'] },
  },
};
