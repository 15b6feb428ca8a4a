// The architecture in one list. A folder may import only from folders in rows EARLIER in this list;
// folders in one row do not import one another. ARCHITECTURE.md draws the same picture.
export const LAYERS = [
  ['base'],
  ['fs', 'vector', 'payload'],
  ['objectstore', 'command', 'index', 'log'],
  ['segment'],
  ['shard'],
  ['collection'],
  ['snapshot'],
  ['cluster'],
  ['backup'],
  ['engine'],
  ['api'],
  ['server'],
  ['cli'],
];

// Rows are an upper bound; these pairs are forbidden although the rows would allow them.
export const NEVER = [
  ['index', 'fs'], ['command', 'fs'], // arrays, bytes and paths are handed in
  ['api', 'shard'], ['api', 'segment'], ['api', 'log'], ['api', 'index'], ['api', 'fs'], ['api', 'cluster'], // transports speak commands
  ['snapshot', 'segment'], ['snapshot', 'log'], ['backup', 'segment'], // sealed files only through shard.freeze()
];

// A built-in or package that brings an effect belongs to named folders.
export const OWNERS = {
  '^(node:)?fs(/promises)?$': ['fs'],
  '^(node:)?(http|https|http2|tls|dgram|dns)(/promises)?$': ['server', 'api', 'objectstore', 'snapshot', 'cluster', 'cli'],
  '^(node:)?net$': ['fs', 'server', 'api', 'objectstore', 'snapshot', 'cluster', 'cli'], // fs: the socket lock
  '^(node:)?child_process$': ['cluster'],
  '^(node:)?module$': ['vector'],
  '^(node:)?worker_threads$': ['engine'],
  'node_modules/@nats-io/': ['cluster'],
  'node_modules/fastify/': ['api', 'server'],
  'node_modules/busboy/': ['api'],
  'node_modules/pino/': ['server'],
  'node_modules/yaml/': ['server'],
  'node_modules/@peculiar/': ['server'],
};
