const isCheckout = import.meta.url.endsWith('.ts') // what the package installs is built

/** How whoever reads the help runs this command. */
export function commandLine(name: string): string {
  return isCheckout ? `npm run -s ${name} --` : `mailwright ${name}`
}
