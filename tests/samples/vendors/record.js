// Writes down what four vendors' own clients send, so that our tests can compare without installing a hundred
// packages. In an empty folder:
//
//     npm install @zenvia/sdk@2.4.4 @netgsm/sms@1.1.11 @seven.io/client@5.6.0 msg91@2.2.8
//     NODE_PATH=node_modules node .../tests/samples/vendors/record.js > .../tests/samples/vendors/requests.json
//
// Nothing goes out: the functions that would call the vendors are replaced by ones that write down.
const { createHash, createHmac } = require("crypto");
const Module = require("module");

const calls = { zenvia: [], netgsm: [], seven: [], msg91: [] };
let vendor = "netgsm"; // whose turn it is with fetch
console.log = () => {}; // one of them is talkative
const load = Module._load;
Module._load = function (name, ...rest) {
  if (name === "axios") return { default: Object.assign(axios, { create: () => axios, interceptors: { request: { use() {} } } }) };
  if (name !== "request-promise") return load.call(this, name, ...rest);
  return async (call) => {
    calls.zenvia.push({ method: call.method.toUpperCase(), url: call.uri, json: call.body ?? null, headers: call.headers });
    return { statusCode: 200, body: {} };
  };
};
async function axios(call) {
  calls.msg91.push({ method: call.method.toUpperCase(), url: call.url, json: JSON.parse(call.data), headers: call.headers });
  return { data: { type: "success", message: "r1" } };
}
globalThis.fetch = async (url, options) => {
  const body = options.body ? String(options.body) : "";
  calls[vendor].push({
    method: options.method.toUpperCase(),
    url: String(url),
    json: body[0] === "{" ? JSON.parse(body) : null,
    ...(body && body[0] !== "{" ? { form: Object.fromEntries(new URLSearchParams(body)) } : {}),
    headers: Object.fromEntries(Object.entries(options.headers).filter(([name]) => name !== "User-Agent")),
  });
  const answer = { code: "00", success: "100", messages: [], id: 7 };
  return { ok: true, status: 200, headers: new Headers(), json: async () => answer, text: async () => JSON.stringify(answer) };
};

async function main() {
  const zenvia = require("@zenvia/sdk");
  const client = new zenvia.Client("secret-1");
  await client.getChannel("sms").sendMessage("acme-sms", "14155552345", new zenvia.TextContent("Olá 👋"));
  await client.listSubscriptions();
  const webhook = { url: "https://sms.example.org/reports/zenvia/K7" };
  const criteria = { channel: "sms", direction: "OUT" };
  await client.createSubscription(new zenvia.MessageStatusSubscription(webhook, criteria));
  await client.updateSubscription("s1", { status: "ACTIVE" });
  await client.deleteSubscription("s1");

  const { default: Netgsm } = require("@netgsm/sms");
  const netgsm = new Netgsm({ username: "8501234567", password: "secret-1" });
  const message = { msg: "Şifre: 1", no: "5321234567" };
  await netgsm.sendRestSms({ msgheader: "ACME", encoding: "TR", iysfilter: "0", messages: [message] });
  await netgsm.getReport({
    bulkIds: ["j1", "j2"],
    startdate: "25112026100000",
    stopdate: "28112026101000",
    pageNumber: 0,
    pageSize: 100,
  });
  await netgsm.getHeaders();
  await netgsm.checkBalance({ stip: 2 });

  vendor = "seven";
  const seven = require("@seven.io/client");
  const sevenClient = new seven.Client({ apiKey: "secret-1" });
  const hooks = new seven.HooksResource(sevenClient);
  await new seven.SmsResource(sevenClient).dispatch({ to: ["+14155552345"], from: "ACME", text: "Grüße 👋", foreign_id: "r1", ttl: 60 });
  await new seven.BalanceResource(sevenClient).get();
  await new seven.StatusResource(sevenClient).get([71]);
  await hooks.read();
  await hooks.subscribe({ targetUrl: "https://sms.example.org/reports/seven/K7", eventType: "dlr", requestMethod: "JSON" });
  await hooks.unsubscribe(7);

  // A report that seven.io's client believes, and refuses when it is changed.
  const [timestamp, nonce, url, body] = ["1764324000", "n1", "https://sms.example.org/reports/seven/K7", '{"webhook_event":"dlr"}'];
  const signed = [timestamp, nonce, "POST", url, createHash("md5").update(body).digest("hex")].join("\n");
  const headers = { "x-timestamp": timestamp, "x-nonce": nonce, "x-signature": createHmac("sha256", "sign-1").update(signed).digest("hex") };
  Date.now = () => 1764324000000; // a signature is believed for five minutes
  const verifier = new seven.WebhookVerifier({ signingSecret: "sign-1" });
  const believed = await Promise.all([body, body + " "].map((body) => verifier.verify({ method: "POST", url, headers, body })));
  if (!believed[0].valid || believed[1].valid) throw new Error(JSON.stringify(believed));
  calls.seven_signature = { url, body, header: headers, secret: "sign-1" };

  const msg91 = require("msg91").default;
  msg91.initialize({ authKey: "secret-1" });
  await msg91.getSMS().send("64f0", [{ mobiles: "14155552345", VAR1: "Hello" }], { senderId: "ACMEIN", shortURL: false });
  process.stdout.write(JSON.stringify(calls, null, 2) + "\n");
}

main();
