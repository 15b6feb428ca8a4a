// A test that this machine cannot run is skipped with the reason; in CI it runs and fails, so that it cannot vanish unseen.

/** Options of a test. @param missing why it cannot run */
export function skipReason(missing: string | undefined): { readonly skip?: string } {
  return missing === undefined || process.env['CI'] === 'true' ? {} : { skip: missing };
}
