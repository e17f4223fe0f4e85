// Writes down what two vendors' own clients send, so that our tests can compare without installing a hundred
// packages. In an empty folder:
//
//     npm install @zenvia/sdk@2.4.4 @netgsm/sms@1.1.11
//     NODE_PATH=node_modules node .../tests/samples/vendors/record.js > .../tests/samples/vendors/requests.json
//
// Nothing goes out: the functions that would call the vendors are replaced by ones that write down.
const Module = require("module");

const calls = { zenvia: [], netgsm: [] };
const load = Module._load;
Module._load = function (name, ...rest) {
  if (name !== "request-promise") return load.call(this, name, ...rest);
  return async (call) => {
    calls.zenvia.push({ method: call.method.toUpperCase(), url: call.uri, json: call.body ?? null, headers: call.headers });
    return { statusCode: 200, body: {} };
  };
};
globalThis.fetch = async (url, options) => {
  calls.netgsm.push({
    method: options.method,
    url: String(url),
    json: options.body ? JSON.parse(options.body) : null,
    headers: options.headers,
  });
  return { status: 200, json: async () => ({ code: "00" }) };
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
  console.log(JSON.stringify(calls, null, 2));
}

main();
