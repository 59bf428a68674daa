drop table deployments.deployment;
