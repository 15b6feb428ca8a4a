// A node:test reporter that writes one JSON object with the counts of leaf tests.
export default async function* count(source) {
  const counts = { passed: 0, failed: 0, skipped: 0, failures: [] };
  for await (const event of source) {
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    const { details, skip, todo, name, file } = event.data;
    if (details?.type === 'suite') continue;
    if (event.type === 'test:fail' && todo === undefined) {
      counts.failed += 1;
      counts.failures.push(`${file ?? ''} ${name}`);
    } else if (skip !== undefined && skip !== false) counts.skipped += 1;
    else counts.passed += 1;
  }
  yield JSON.stringify(counts);
}
