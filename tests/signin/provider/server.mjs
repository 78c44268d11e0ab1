// The certified OpenID provider `oidc-provider`, with people and their groups from a file that the tests rewrite.
// Arguments: port, the file of accounts, the redirect URI of the one client.
import { readFileSync } from 'node:fs';
import Provider from 'oidc-provider';

const [port, accounts, redirectUri] = process.argv.slice(2);
const issuer = `http://localhost:${port}`;
const people = () => JSON.parse(readFileSync(accounts, 'utf8'));

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'lakewright',
      client_secret: 'a-secret-of-the-tests:with/odd characters',
      redirect_uris: [redirectUri],
      grant_types: ['authorization_code'],
      response_types: ['code'],
    },
  ],
  claims: {
    openid: ['sub', 'groups'],
    email: ['email', 'email_verified'],
    profile: ['name'],
  },
  pkce: { required: () => true },
  features: { devInteractions: { enabled: false } },
  cookies: { keys: ['only for tests'] },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people()[id] }) }),
});

// Signing in there: GET /interaction/:uid?as=NAME, consent included; the tests are its login page.
provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) return next();
  const { params, session, prompt } = await provider.interactionDetails(ctx.req, ctx.res);
  const name = ctx.query.as ?? session?.accountId;
  if (!name) {
    ctx.type = 'html';
    const names = Object.keys(people());
    ctx.body = `<h1>Who are you?</h1>${names.map((n) => `<a href="?as=${n}">${n}</a>`).join(' ')}`;
    return;
  }
  const grant = new provider.Grant({ accountId: name, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  const result = { login: { accountId: name }, consent: { grantId: await grant.save() } };
  if (prompt.name === 'login') result.login.remember = false;
  await provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: false });
});

provider.listen(Number(port), 'localhost', () => console.log('listening'));
