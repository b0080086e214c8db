/** Cloned by each test file. */
export const templateDatabase = 'mailwright_template'

/** The login that the service has in tests; a member of the service's role and of nothing else. */
export const serviceLogin = { name: 'mailwright_test_service', password: 'only-for-tests' }

/** The logins of the mail servers. */
export const mailLogins = {
  read: { name: 'mail_read', password: 'only-for-tests-read' },
  write: { name: 'mail_write', password: 'only-for-tests-write' },
}
