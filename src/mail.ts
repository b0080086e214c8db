import { type MailConfig, readMailConfig } from './mail/config.ts'
import { startMailServers } from './mail/servers.ts'

const say = (message: string) => console.log(message)

await main()

async function main(): Promise<void> {
  if (process.getuid?.() !== 0) {
    exitWith(
      'npm run mail needs root: Postfix and Dovecot give up its rights by themselves. Use: sudo deploy/mail',
    )
  }
  const config = readConfigOrExit()
  const stopped = Promise.withResolvers<NodeJS.Signals>()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stopped.resolve(signal))
  const servers = await startMailServers(config, say).catch((error: Error) => exitWith(error.message))
  say(welcome(config))
  await stopped.promise
  say('Stopping.')
  await servers.stop()
  process.exit(0)
}

function readConfigOrExit(): MailConfig {
  try {
    return readMailConfig(process.env)
  } catch (error) {
    return exitWith((error as Error).message, 2)
  }
}

function exitWith(message: string, code = 1): never {
  console.error(message)
  process.exit(code)
}

function welcome({ ports, host }: MailConfig): string {
  return `The mail servers are ready on ${host ?? 'all addresses'}:
  SMTP ${ports.smtp}, submission ${ports.submission} (STARTTLS)
  POP3 ${ports.pop3} (STLS), ${ports.pop3s} (TLS)
  IMAP ${ports.imap} (STARTTLS), ${ports.imaps} (TLS)`
}
