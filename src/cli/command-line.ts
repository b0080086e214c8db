/** How whoever reads the help runs this command: `npm run` in a checkout, else what the package installs. */
export function commandLine(name: string): string {
  const inCheckout = process.env.npm_lifecycle_event === name
  return inCheckout ? `npm run -s ${name} --` : `mailwright ${name}`
}
