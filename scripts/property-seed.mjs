// Loaded before every test file: with NEARKEEP_SEED set, property tests draw from that seed too, so that one seed repeats a whole run.
if (process.env.NEARKEEP_SEED) {
  const { default: fc } = await import('fast-check');
  fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(process.env.NEARKEEP_SEED) });
}
